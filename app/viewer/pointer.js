/** What a mouse, a pen or a finger does on a picture: hover, click, drag, press. */

import { clampedView, positionAt, thinned } from "./geometry.js";

const LASSO_POINTS = 24;
const DRAG_PIXELS = 6; // a press that moves less is a click
export const LONG_PRESS_MS = 550;

export class Pointer {
  constructor(viewer) {
    this.viewer = viewer;
    this.drag = null;
    this.over = null; // the stage under the pointer
  }

  /** @returns {Record<string, (event: any, stage: Element) => any>} */
  handlers() {
    return {
      pointermove: (event, stage) => this.onMove(event, stage),
      pointerleave: () => this.onLeave(),
      pointerdown: (event, stage) => this.onPress(event, stage),
      pointerup: (event) => this.onRelease(event),
      pointercancel: () => this.cancelDrag(),
      dragstart: (event) => event.preventDefault(), // of a picture, which would end our own
      click: (event, stage) => this.onClick(event, stage),
      contextmenu: (event) => event.pointerType === "touch" && event.preventDefault(),
    };
  }

  pointOf(event, stage) {
    const box = stage.getBoundingClientRect();
    const { width, height } = this.viewer.config.image;
    const { zoom, left, top } = this.viewer.camera.view;
    const inside = (value, limit) => Math.min(Math.max(value, 0), limit - 1e-6);
    return {
      x: inside(((event.clientX - box.left) / box.width / zoom + left) * width, width),
      y: inside(((event.clientY - box.top) / box.height / zoom + top) * height, height),
    };
  }

  onLeave() {
    this.over = null;
    if (this.viewer.readout.classAt(this.viewer.selection.cursor)) this.viewer.stages.drawMarks();
  }

  onMove(event, stage) {
    const { selection } = this.viewer;
    this.over = stage;
    if (this.drag && this.dragTo(event, stage)) return;
    selection.goTo({ points: [this.pointOf(event, stage)] });
    if (selection.queries.length) {
      this.viewer.stages.drawMarks();
      this.viewer.readout.read();
      return;
    }
    const position = positionAt(selection.cursor, this.viewer.queryGrid);
    if (position !== null && position !== selection.positionOf(selection.live)) this.viewer.look(position);
    else {
      if (position === null) this.viewer.stages.drawMarks(); // no query is there: the cursor reads a key
      this.viewer.readout.read();
    }
  }

  onPress(event, stage) {
    const { settings } = this.viewer;
    this.dragged = false;
    const middle = event.button === 1;
    if (event.button !== 0 && !middle) return;
    this.viewer.stagesNode.classList.add("by-pointer"); // no focus ring until the keyboard is used
    this.viewer.stagesNode.focus({ preventScroll: true });
    const touch = event.pointerType === "touch";
    if (touch) {
      this.pressing = setTimeout(() => {
        this.dragged = true; // the click that follows is not another pin
        this.viewer.selection.place({ points: [this.pointOf(event, stage)] }, { add: true });
      }, LONG_PRESS_MS);
    }
    if (touch && settings.tool === "rectangle") return; // a finger that drags scrolls the page
    if (middle) event.preventDefault();
    const kind = middle ? "pan" : event.altKey ? "lasso" : settings.tool;
    this.drag = { kind, from: this.pointOf(event, stage), at: [event.clientX, event.clientY], view: this.viewer.camera.view, id: event.pointerId };
  }

  /** Go on dragging; return whether this is a drag by now. */
  dragTo(event, stage) {
    const { camera } = this.viewer;
    const { drag } = this;
    const [right, down] = [event.clientX - drag.at[0], event.clientY - drag.at[1]];
    if (!this.dragged) {
      if (Math.hypot(right, down) < DRAG_PIXELS) return false;
      clearTimeout(this.pressing);
      this.dragged = true;
      if (event.isTrusted) stage.setPointerCapture(drag.id);
    }
    if (drag.kind === "pan") {
      const { zoom, left, top } = drag.view;
      const { width, height } = camera.stageSize;
      camera.setView(clampedView({ zoom, left: left - right / width / zoom, top: top - down / height / zoom }));
      return true;
    }
    const point = this.pointOf(event, stage);
    if (drag.kind === "lasso") (drag.path ??= [drag.from]).push(point);
    else drag.path = [drag.from, point];
    this.viewer.stages.drawMarks();
    return true;
  }

  onRelease(event) {
    const { selection } = this.viewer;
    clearTimeout(this.pressing);
    const { drag } = this;
    this.endDrag();
    if (!drag?.path) return;
    const points = drag.kind === "lasso" ? thinned(drag.path, LASSO_POINTS) : drag.path;
    if (drag.kind === "lasso" && points.length < 3) return;
    selection.goTo({ points });
    selection.place({ points }, { add: event.shiftKey });
  }

  endDrag() {
    clearTimeout(this.pressing);
    this.drag = null;
  }

  /** The browser took the pointer, for example to scroll: nothing is selected, nothing stays drawn. */
  cancelDrag() {
    this.endDrag();
    this.viewer.stages.drawMarks();
  }

  onClick(event, stage) {
    const { selection } = this.viewer;
    if (this.dragged) {
      this.dragged = false;
      return;
    }
    selection.pinAt({ points: [this.pointOf(event, stage)] }, { add: event.shiftKey });
  }
}
