"""results.json as Markdown."""

COLUMNS = {
    "request_mean": "request, mean (ms)",
    "more": "mean more than without (%)",
    "request_median": "request, median (ms)",
    "replies": "replies/s",
    "errors": "errors",
    "uncounted": "packets not collected",
    "share_mean": "tap to world, a packet (us)",
    "share_p99": "p99 (us)",
    "share_request": "a request's packets (us)",
    "packets_per_request": "packets for each request",
    "held_per_request": "held of them",
    "cpu_per_held": "CPU for each held (us)",
    "cpu_per_request": "CPU for each request (us)",
    "mean": "mean (us)",
    "median": "median (us)",
    "p99": "p99 (us)",
    "max": "max (us)",
    "max_cpu": "max on a core (us)",
    "reads": "reads of guest memory",
}


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _cell(figure: dict | None) -> str:
    if figure is None:
        return ""
    median, least, greatest = (_number(figure[key]) for key in ("median", "min", "max"))
    return median if least == greatest else f"{median} ({least} to {greatest})"


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def _rows(rows: list[dict]) -> str:
    told = {name for row in rows for name, figure in row["figures"].items() if figure["max"] > 0 or name != "uncounted"}
    names = [name for name in COLUMNS if name in told]
    by = "rate" if "rate" in rows[0] else "sockets"
    lines = []
    for row in rows:
        by_text = str(row[by]) + ("" if row.get("bears", True) else ", not borne")
        lines.append([row["way"], by_text, *(_cell(row["figures"].get(name)) for name in names)])
    heads = {"rate": "requests/s", "sockets": "sockets"}
    return _table(["way", heads[by], *(COLUMNS[name] for name in names)], lines)


def _published(published: dict) -> str:
    lines = []
    for what, value in published.items():
        words = "not at hand" if value is None else "; ".join(f"{key}: {said}" for key, said in value.items())
        lines.append([what, words])
    return _table(["published", "the paper's value"], lines)


def markdown(results: dict) -> str:
    parts = [
        f"# The paper's experiments, {results['date']}\n",
        f"{results['machine']}; commit {results['commit']}; httperf {results['httperf']}."
        + (" A quick run: it shows that the tool works, its figures mean little." if results["quick"] else "")
        + f" Rounds: {results['rounds']}; medians, with the least and the greatest. Load before it began:"
        + f" {results['load']:.1f}. {results['note']}\n",
    ]
    for name, result in results["experiments"].items():
        parts.append(f"## {result['title']}\n")
        if result["rows"]:
            parts.append(_rows(result["rows"]))
        if result.get("calls"):
            lines = [[call["name"], _cell(call)] for call in result["calls"]]
            parts.append(_table(["alone, without a guest's time", "us"], lines))
        parts.append(_published(result["published"]))
        parts += [f"- {sentence}\n" for sentence in result["missing"]]
        parts.append(f"![{result['title']}]({name}.png)\n")
    return "\n".join(parts)
