"""Plots of an experiment's rows: medians over the runs, with the spread from the least to the greatest as bars."""

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402


def _ways(rows: list[dict]) -> list[str]:
    return list(dict.fromkeys(row["way"] for row in rows))


def _line(axes, x: list, figures: list[dict], label: str, **style) -> None:
    medians = [figure["median"] for figure in figures]
    below = [figure["median"] - figure["min"] for figure in figures]
    above = [figure["max"] - figure["median"] for figure in figures]
    axes.errorbar(x, medians, yerr=[below, above], label=label, marker="o", capsize=3, **style)


def _save(figure, result: dict, path) -> None:
    figure.suptitle(result["title"])
    figure.tight_layout()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def over_rates(result: dict, path, panels: list[tuple[str, str]]) -> None:
    figure, all_axes = plt.subplots(1, len(panels), figsize=(6 * len(panels), 4.5))
    for axes, (name, title) in zip(all_axes, panels):
        for way in _ways(result["rows"]):
            rows = [row for row in result["rows"] if row["way"] == way and row["bears"] and name in row["figures"]]
            if rows:
                _line(axes, [row["rate"] for row in rows], [row["figures"][name] for row in rows], way)
        axes.set(xlabel="requests a second, as far as the guest bears them", ylabel=title, ylim=(0, None))
        axes.legend(fontsize=8)
    _save(figure, result, path)


def bars(result: dict, path, panels: list[tuple[str, str]]) -> None:
    figure, all_axes = plt.subplots(1, len(panels), figsize=(6 * len(panels), 4.5))
    for axes, (name, title) in zip(all_axes, panels):
        rows = [row for row in result["rows"] if name in row["figures"]]
        labels = [f"{row['way']}\n{row['rate']} requests/s" for row in rows]
        figures = [row["figures"][name] for row in rows]
        medians = [figure["median"] for figure in figures]
        spread = [[f["median"] - f["min"] for f in figures], [f["max"] - f["median"] for f in figures]]
        axes.barh(labels, medians, xerr=spread, capsize=3)
        axes.invert_yaxis()
        axes.tick_params(axis="y", labelsize=7)
        axes.set(xlabel=title)
    _save(figure, result, path)


def over_sockets(result: dict, path) -> None:
    panels = {"mean": "mean", "max": "max", "max_cpu": "max, of time on a core"}
    published = result["published"]["run time of the module"]
    figure, all_axes = plt.subplots(1, len(panels), figsize=(6 * len(panels), 4.5))
    for axes, (name, title) in zip(all_axes, panels.items()):
        for color, way in enumerate(_ways(result["rows"])):
            rows = [row for row in result["rows"] if row["way"] == way and name in row["figures"]]
            if rows:
                x, figures = [row["sockets"] for row in rows], [row["figures"][name] for row in rows]
                _line(axes, x, figures, way, color=f"C{color}")
        if name in published:
            label = "the paper's; of how many sockets is not at hand"
            axes.axhline(float(published[name].split()[0]), linestyle="--", color="grey", label=label)
        axes.set(xlabel="sockets of the process", ylabel=f"run time (us, {title})", xscale="log", yscale="log")
        if axes.has_data():
            axes.legend(fontsize=8)
    _save(figure, result, path)
