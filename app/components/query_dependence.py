"""Where in the picture does it matter where one points? And which two queries differ most?"""

import streamlit as st

from nonlocal_lens.app import cache
from nonlocal_lens.app.components.painting import color_bar, painted
from nonlocal_lens.app.pictures import Picture

PAIR_OF = "pair of"  # where the session keeps what the last pair was asked for


def show_query_dependence(network_name: str, picture: Picture, index: int) -> None:
    """Show how far every query's row is from the mean row, and the most different pair."""
    record = cache.observation(network_name, picture).records[index]
    axis = record.query_axis
    if axis.grid is None:
        st.info("The queries of this block are no places of the picture: there is no map of them.")
        return
    if axis.grid.frames > 1:
        st.info("The map is of a picture; this block attends over the frames of a clip.")
        return
    bits = axis.on_grid(cache.query_map(network_name, picture, index)).numpy()
    top = max(float(bits[bits == bits].max(initial=0)), 0.1)  # nearly equal queries look flat
    map_column, words_column = st.columns([3, 2], gap="large")
    with map_column:
        st.image(
            painted(picture.image, axis.grid, bits, top),
            alt=f"How far each query's attention is from the mean, up to {top:.3g} bits",
            width="stretch",
        )
        st.html(color_bar(top, "bits from the mean row"))
    with words_column:
        st.markdown(
            "Bright where a query looks elsewhere than queries do on average: the divergence "
            "KL(row ‖ mean row). Where all is dark, it does not matter where you point."
        )
        mean, peak = bits[bits == bits].mean(), bits[bits == bits].max(initial=0)
        st.caption(
            f"Mean {mean:.3f} bits, which is the query information of the block; "
            f"greatest {peak:.3f} bits."
        )
        asked = (network_name, picture.id, index)
        if st.button("The two most different queries", icon=":material/compare_arrows:"):
            st.session_state[PAIR_OF] = asked
        if st.session_state.get(PAIR_OF) != asked:
            return
        try:
            figure, pair = cache.most_different(
                network_name, picture, index, st.context.theme.type == "dark"
            )
        except ValueError as error:
            st.info(f"{error}.")
            return
        centers = map(axis.center, pair)
        places = " and ".join(f"x {x:.0f}, y {y:.0f}" for x, y in centers)
        st.caption(f"Queries at {places}.")
    st.image(figure, alt=f"Attention of the queries at {places}", width="stretch")
