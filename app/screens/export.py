"""Export: what is pinned elsewhere as a figure for a paper, and the command that draws it."""

import io
import json
from functools import partial
from typing import Any, BinaryIO, Literal

import streamlit as st
from PIL import Image

from nonlocal_lens.app import cache
from nonlocal_lens.app.address import keep_address, opened_link
from nonlocal_lens.app.clip_address import clip_fields, note_clip, watched_named
from nonlocal_lens.app.clip_address import open_what_it_names as open_clip_named
from nonlocal_lens.app.components.export_form import (
    LAYOUT,
    choose_clip_options,
    choose_options,
    filled_in_for,
    filled_in_for_clip,
    form_fields,
    looks_changed,
)
from nonlocal_lens.app.components.network_picker import current_network
from nonlocal_lens.app.components.picture_picker import current_picture, open_known
from nonlocal_lens.app.drawn_streets import FIRST_STREET
from nonlocal_lens.app.export.bundle import bundle_name
from nonlocal_lens.app.export.formats import DRAWN, MOVIES
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.preview import for_screen
from nonlocal_lens.app.export.sizes import LEAST_MAP_MM, SCREEN_INCH, sizes_of
from nonlocal_lens.app.link import Link
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.networks import short_name
from nonlocal_lens.app.pictures import rendered_picture
from nonlocal_lens.app.session import choose, kept
from nonlocal_lens.app.shown import (
    LATEST,
    SHOWN_CLIP,
    SHOWN_PICTURE,
    Part,
    ShownClip,
    ShownPicture,
    first_view,
    named_part,
    part_chosen,
    query_at,
    remember,
)
from nonlocal_lens.app.uploads import user_message
from nonlocal_lens.app.video_clips import FRAMES
from nonlocal_lens.app.viewer.view import View
from nonlocal_lens.app.views import take_view, view_of

WIDEST_REAL_INCHES = 8.5  # wider figures are shown as wide as the page


def export_page() -> None:
    """Draw the page from top to bottom."""
    st.html(
        '<div class="nl-title"><h2>Export</h2><p>What you see elsewhere as a figure for a '
        "paper, and the command that draws the same.</p></div>"
    )
    link = opened_link("export", [*form_fields(), *clip_fields()])
    if link is not None:
        open_what_it_names(link)
    explored, watched = shown_picture(), None
    if SHOWN_CLIP in st.session_state and choose_subject(explored) == SHOWN_CLIP:
        watched = st.session_state[SHOWN_CLIP]
    st.caption(said_of(explored) if watched is None else said_of_clip(watched))
    form, figure = st.columns([2, 3], gap="large")
    with form:
        if watched is None:
            given = choose_options(explored, block_of(explored))
        else:
            given = choose_clip_options(watched)
    keep_shown(explored, watched)
    with figure, st.container(key="export-figure"):
        try:
            options = Options.build(given)
            show_preview(options)
            show_sizes(options)
            show_download(options)
        except (ValueError, OSError) as error:
            st.error(f"This cannot be drawn: {literal(user_message(str(error)))}.")


def shown_picture() -> ShownPicture:
    """Return the picture that was shown last, or that Explore would show, with what is pinned."""
    shown: ShownPicture | None = st.session_state.get(SHOWN_PICTURE)
    if shown is not None:
        return shown
    picture = current_picture() or rendered_picture(FIRST_STREET)
    view = view_of(picture.id, "explore", first_view(picture))
    return ShownPicture(current_network(), picture, Part(), view.queries)


def open_what_it_names(link: Link) -> None:
    """Choose the picture or the clip that an address names as what is drawn."""
    open_clip_named(link)
    watched = watched_named()
    if watched is not None:
        remember(watched)
        filled_in_for_clip(watched)
        return
    open_known(link.picture)
    picture = current_picture()
    take_view(link, picture, "explore")
    if picture is None or link.picture is None:
        return
    network, *others = link.networks or (current_network(),)
    part = named_part((link.blocks or ("",))[0])
    explored = ShownPicture(network, picture, part, link.view.queries, tuple(others))
    remember(explored)
    filled_in_for(explored)
    looks_changed()


def keep_shown(explored: ShownPicture, watched: ShownClip | None) -> None:
    """Let the address say what is drawn, and how."""
    if watched is not None:
        chosen_frames: dict[str, Any] = dict(watched.chosen)
        part = part_chosen(chosen_frames).name
        pins = tuple(query_at(query) for query in watched.queries)
        view = View(queries=pins, follow=watched.track)
        note_clip(watched.reel, watched.network, part, view, chosen_frames.get("stride"))
        keep_address(Link(), [*form_fields(), *clip_fields()])
        return
    part = explored.part.name
    view = View(queries=explored.pins)
    link = Link(explored.picture.id, explored.networks, (part,) if part else (), view)
    keep_address(link, form_fields())


def choose_subject(explored: ShownPicture) -> str:
    """Let the user choose between the picture and the clip that were shown last."""
    names = {
        SHOWN_PICTURE: f"Picture: {explored.picture.name}",
        SHOWN_CLIP: f"Clip: {st.session_state[SHOWN_CLIP].reel.name}",
    }
    chosen = st.segmented_control(
        "What is drawn",
        list(names),
        format_func=names.__getitem__,
        required=True,
        **kept(LATEST, SHOWN_CLIP),
        label_visibility="collapsed",
    )
    return chosen or SHOWN_PICTURE


def said_of(explored: ShownPicture) -> str:
    """Return what is drawn of a picture, and where it is chosen."""
    pinned = f"{len(explored.pins)} pinned" if explored.pins else "nothing pinned"
    means = not all(pin.alone for pin in explored.pins)
    return (
        f"{explored.picture.name} through {', '.join(map(short_name, explored.networks))}, "
        f"{pinned}: choose other pictures, networks or queries in Explore or Compare."
        + (" Of a region or a class a figure shows one place, not the mean." if means else "")
    )


def said_of_clip(watched: ShownClip) -> str:
    """Return what is drawn of a clip, and where it is chosen."""
    pinned = "nothing pinned"
    for query in watched.queries:
        spot = query_at(query).spot
        where = spot if isinstance(spot, str) else f"x {spot[0]:.0f}, y {spot[1]:.0f}"
        pinned = f"{where} of frame {query[0]} pinned"
    frames = "1 frame" if watched.frames == 1 else f"{watched.frames} frames"
    return (
        f"{frames} of {watched.reel.name} through {short_name(watched.network)}, {pinned}: "
        "choose other clips, frames, networks or queries in Video."
    )


def block_of(explored: ShownPicture) -> str | None:
    """Return the block, if it is not the one that an export would take anyway."""
    records = cache.observation(explored.network, explored.picture).records
    block = explored.part.block
    return None if block in ("", records[0].block) else block


def show_preview(options: Options) -> None:
    """Show the first figures; raise ValueError or OSError if they cannot be drawn."""
    if set(options.formats) & {*DRAWN, *MOVIES}:
        real = (
            not options.asks_for_clips
            and options.look.width <= WIDEST_REAL_INCHES
            and st.toggle(
                "Real size",
                help="As large as on paper, where your browser's zoom is 100 %.",
                **kept("export-real", True),
            )
        )
        for name, png in cache.preview(json.dumps(options.to_json())):
            width: int | Literal["stretch"] = real_pixels(png, options) if real else "stretch"
            st.image(png, caption=name, alt=f"The figure {name}", width=width)
    else:
        st.info("These formats hold numbers or a page of their own: there is no figure to show.")


def real_pixels(png: bytes, options: Options) -> int:
    """Return how wide a previewed figure is on a page that shows it as large as paper does."""
    inches = Image.open(io.BytesIO(png)).width / for_screen(options).look.dpi
    return max(1, round(inches * SCREEN_INCH))


def show_sizes(options: Options) -> None:
    """Say how large the figure is on paper, and what helps where its maps are too small."""
    if options.asks_for_clips or not set(options.formats) & set(DRAWN):
        return
    sizes = sizes_of(options, options.networks)
    if sizes is None:
        return
    st.caption(f"On paper {sizes.width_mm:.0f} mm wide, a map {sizes.map_mm:.0f} mm.")
    if sizes.map_mm >= LEAST_MAP_MM:
        return
    st.warning(
        f"A map is {sizes.map_mm:.1f} mm wide: below {LEAST_MAP_MM:g} mm little of it is seen in "
        "print. Fewer columns or a wider figure help, or the networks below one another."
    )
    if options.layout == "grid" and len(options.networks) > 1:
        st.button(
            "Stack the networks",
            icon=":material/table_rows:",
            on_click=choose,
            args=(LAYOUT, "stacked"),
        )


def show_download(options: Options) -> None:
    """Offer the files, drawn when they are asked for, and the command that draws them."""
    name = bundle_name(options)
    st.download_button(
        f"Download {name}",
        partial(draw, options),
        name,
        type="primary",
        icon=":material/download:",
        on_click="ignore",
    )
    st.markdown("**The same in the shell**")
    st.code(options.in_users_terms().command(), language="bash", wrap_lines=True)
    if said := said_of_files(options):
        st.caption(said)


def draw(options: Options) -> BinaryIO:
    """Return the files of an export as one."""
    return cache.bundle(json.dumps(options.to_json()))


def said_of_files(options: Options) -> str:
    """Return where the command is to be run, if it names files that were uploaded here."""
    called = options.in_users_terms()
    names = [
        name
        for name, path in zip(
            (*called.inputs, *called.networks), (*options.inputs, *options.networks), strict=True
        )
        if name != path
    ]
    if not names:
        return ""
    said = f"Run it in the folder that holds {' and '.join(f'`{name}`' for name in names)}."
    if FRAMES in names:
        said += f" `{FRAMES}` stands for the folder of your frames."
    return said


export_page()
