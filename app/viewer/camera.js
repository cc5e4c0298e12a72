/** The part of the picture that is in view: zooming, moving, and from image points to the screen. */

import { WHOLE_VIEW, zoomedView } from "./geometry.js";

export class Camera {
  constructor(viewer) {
    this.viewer = viewer;
    this.view = WHOLE_VIEW;
  }

  placeView() {
    const { zoom, left, top } = this.view;
    const style = this.viewer.stagesNode.style;
    style.setProperty("--zoom", zoom);
    style.setProperty("--left", `${-100 * left * zoom}%`);
    style.setProperty("--top", `${-100 * top * zoom}%`);
    this.viewer.stagesNode.classList.toggle("zoomed", zoom > 1);
  }

  setView(view) {
    this.view = view;
    this.placeView();
    this.viewer.stages.drawMarks();
  }

  /** Zoom by a factor around the cursor; 0 shows the whole picture. */
  zoom(factor) {
    if (!factor) {
      this.setView(WHOLE_VIEW);
      return;
    }
    const { width, height } = this.viewer.config.image;
    const { zoom, left, top } = this.view;
    const { cursor } = this.viewer.selection;
    const share = (at, start) => Math.min(Math.max((at - start) * zoom, 0), 1);
    this.setView(zoomedView(this.view, factor, share(cursor.x / width, left), share(cursor.y / height, top)));
  }

  onWheel(event) {
    if (!event.ctrlKey) return; // the page scrolls as it always does
    const stage = event.target.closest?.(".stage");
    if (!stage) return;
    event.preventDefault();
    const box = stage.getBoundingClientRect();
    const factor = Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.002));
    this.setView(zoomedView(this.view, factor, (event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height));
  }

  /** Note how large stages are on the screen; return whether they are on it at all. */
  measure() {
    const stage = this.viewer.panels?.[0]?.stage;
    if (!stage) return false;
    const box = stage.getBoundingClientRect();
    this.stageSize = { width: box.width, height: box.height };
    this.placeView();
    return box.width > 0;
  }

  /** Return what takes an image point to a point of a stage, in pixels of the screen. */
  projection() {
    const { width, height } = this.viewer.config.image;
    const { zoom, left, top } = this.view;
    const across = (zoom * this.stageSize.width) / width;
    const down = (zoom * this.stageSize.height) / height;
    const project = ({ x, y }) => ({ x: (x - left * width) * across, y: (y - top * height) * down });
    project.scale = across;
    return project;
  }
}
