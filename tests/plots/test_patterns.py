import numpy as np

from boltzspike.plots import plot_images, plot_modes


def test_images_are_shown_pixel_by_pixel_in_order(rng, render):
    images = rng.uniform(size=(7, 3, 4))
    figure = plot_images(images, [f"image {k}" for k in range(7)], columns=5)
    shown = [ax for ax in figure.axes if ax.images]
    assert len(shown) == 7
    for ax, image in zip(shown, images):
        assert np.array_equal(ax.images[0].get_array(), image)
        assert ax.images[0].get_clim() == (0, 1)
    assert [ax.get_title() for ax in shown] == [f"image {k}" for k in range(7)]
    render(figure)


def test_weights_as_images_are_white_at_zero_and_share_one_scale(rng, render):
    fields = rng.normal(size=(4, 3, 3))
    figure = plot_images(fields, columns=2, limits=None)
    shown = [ax.images[0] for ax in figure.axes if ax.images]
    top = np.abs(fields).max()
    assert {image.get_clim() for image in shown} == {(-top, top)}
    assert np.allclose(shown[0].cmap(0.5)[:3], 1, atol=0.01)
    render(figure)


def test_what_is_not_known_of_an_image_is_left_blank(render):
    image = np.array([[[1.0, np.nan], [0.0, 1.0]]])
    figure = plot_images(image)
    assert np.ma.is_masked(figure.axes[0].images[0].get_array()[0, 1])
    render(figure)


def test_modes_show_the_path_from_its_beginning_and_the_names(rng, render):
    cloud = rng.normal(size=(500, 2))
    ax = plot_modes(cloud, cloud[:20], explained=(0.5, 0.25), marks=(np.array([[0.0, 1.0]]), ["seven"]))
    assert np.array_equal(ax.lines[0].get_xydata(), cloud[:20])
    assert np.array_equal(ax.lines[1].get_xydata(), cloud[:1])
    assert ax.texts[0].get_text() == "seven"
    assert ax.get_xlabel() == "1st principal component (50% of variance)"
    render(ax)
