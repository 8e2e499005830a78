"""Charts of sessions, logins, exposure and turns: frames in, altair charts out, the same in notebooks and reports.

Each chart holds few marks however many rows the frame has: rows are counted, or the first ones are taken, before
altair sees them, and a subtitle says what was left out. Times are UTC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from imapids.errors import UsageError
from imapids.output.table_text import shown

if TYPE_CHECKING:
    import altair as alt

BINS = 60
"""Bars of a timeline: more cannot be told apart on a phone."""
PAIRS = 12
"""Pairs, or sources, that one chart shows."""
TICKS = 4_000
"""Marks of one chart: SVG with more is slow to draw."""
CELLS = 400
"""Servers times ports of an exposure map."""

VERDICT_COLORS = {"mimic": "#8b3fb0", "not-imap": "#d0343f", "undecided": "#e0a020", "genuine": "#2b9a72",
                  "silent": "#9aa3ad"}
OUTCOME_COLORS = {"failure": "#d0343f", "aborted": "#e0a020", "unknown": "#9aa3ad", "success": "#2b9a72"}
SIDE_COLORS = {"client": "#3478c0", "server": "#e07b39"}
EXPOSURE_COLORS = {"open to the outside": "#d0343f", "open inside": "#3478c0", "closed": "#9aa3ad",
                   "no answer": "#d5dae0"}
"""The gravest first. The colours of each chart differ in lightness, too: they can be told apart without hue."""


def timeline(sessions: pd.DataFrame) -> alt.Chart:
    """Sessions over time, stacked by verdict.

    Args:
        sessions: columns `time` and `verdict`; where there is a column `sessions`, each row stands for that many.
    """
    made = _altair()
    counted = _counted(sessions, "sessions", ["time", "verdict"])
    span = counted["time"].max() - counted["time"].min() if len(counted) else pd.Timedelta(0)
    step = _bin_width(span)
    counted["time"] = counted["time"].dt.floor(step)
    bars = counted.groupby(["time", "verdict"], observed=True)["sessions"].sum().reset_index()
    order = {word: number for number, word in enumerate(VERDICT_COLORS)}
    bars = bars.sort_values("verdict", key=lambda column: column.astype(object).map(order), kind="stable")
    bars["end"] = bars["time"] + step
    bars["top"] = bars.groupby("time")["sessions"].cumsum()
    bars["bottom"] = bars["top"] - bars["sessions"]
    subtitle = f"each bar {_duration(step)}; {_dates(counted['time'])}"
    base = _chart(made, bars, "Sessions by verdict", subtitle, height=180)
    chart: alt.Chart = base.mark_rect().encode(
        x=_time_axis(made, counted["time"]), x2="end:T",
        y=made.Y("bottom:Q", title="sessions", axis=made.Axis(tickMinStep=1, tickCount=6)), y2="top:Q",
        color=_color(made, "verdict", VERDICT_COLORS, bars),
        tooltip=["verdict:N", "sessions:Q", made.Tooltip("time:T", format="%Y-%m-%d %H:%M:%S")],
    )
    return chart


def beacon_rhythm(sessions: pd.DataFrame, beacons: pd.DataFrame | None = None) -> alt.Chart:
    """When the busiest pairs connect, one line for each pair: a beacon shows as an even comb.

    Args:
        sessions: columns `time`, `client`, `server`, `server_port` and `verdict`.
        beacons: columns `client`, `server`, `server_port` and `score`: then the pairs with the highest scores
            (over connections, where there is a column `over`).
    """
    made = _altair()
    pair = ["client", "server", "server_port"]
    if beacons is not None and "over" in beacons:
        beacons = beacons[beacons["over"] == "connections"]
    if beacons is not None and len(beacons):
        ranked = beacons.groupby(pair, observed=True)["score"].max().sort_values(ascending=False).head(PAIRS)
        names = {key: f"{_pair(key)}  {score:.2f}" for key, score in ranked.items()}
        subtitle = "behind the pair: the greatest beacon score"
    else:
        often = sessions.groupby(pair, observed=True).size().sort_values(ascending=False, kind="stable")
        ranked = often[often > 1].head(PAIRS)
        names = {key: _pair(key) for key in ranked.index}
        subtitle = "the pairs with the most sessions, two at least"
    keys = list(zip(*(sessions[name] for name in pair), strict=True))
    names_of_rows = pd.Series([names.get(key, "") for key in keys], index=sessions.index, dtype=object)
    chosen = sessions[["time", "verdict"]].assign(pair=names_of_rows)[names_of_rows != ""]
    if len(chosen) > TICKS:
        subtitle += f"; the first {TICKS:,} of {len(chosen):,} sessions"
        chosen = chosen.sort_values("time").head(TICKS)
    base = _chart(made, chosen, "Rhythm of connections", f"{subtitle}; {_dates(chosen['time'])}", height=made.Step(20))
    chart: alt.Chart = base.mark_tick(thickness=1.5, opacity=1).encode(
        x=_time_axis(made, chosen["time"]),
        y=made.Y("pair:N", title=None, sort=list(names.values()), axis=made.Axis(labelLimit=320)),
        color=_color(made, "verdict", VERDICT_COLORS, chosen),
        tooltip=["pair:N", "verdict:N", made.Tooltip("time:T", format="%Y-%m-%d %H:%M:%S")],
    )
    return chart


def login_outcomes(logins: pd.DataFrame) -> alt.Chart:
    """Attempts to sign in by source and outcome: the sources with the most failures first.

    Args:
        logins: columns `client` and `outcome`; where there is a column `logins`, each row stands for that many.
    """
    made = _altair()
    counted = _counted(logins, "logins", ["client", "outcome"])
    bars = counted.groupby(["client", "outcome"], observed=True)["logins"].sum().reset_index()
    failed = bars["logins"].where(bars["outcome"] == "failure", 0).groupby(bars["client"]).sum()
    order = pd.DataFrame({"failed": failed, "all": bars.groupby("client")["logins"].sum()})
    clients = list(order.sort_values(["failed", "all"], ascending=False, kind="stable").index)
    drawn = bars[bars["client"].isin(clients[:PAIRS])]
    left = len(clients) - PAIRS
    subtitle = f"and {left:,} more sources" if left > 0 else ""
    base = _chart(made, drawn, "Logins by source", subtitle, height=made.Step(20))
    chart: alt.Chart = base.mark_bar().encode(
        x=made.X("logins:Q", title="attempts", axis=made.Axis(tickMinStep=1, tickCount=8)),
        y=made.Y("client:N", title=None, sort=clients[:PAIRS], axis=made.Axis(labelLimit=320)),
        color=_color(made, "outcome", OUTCOME_COLORS, drawn),
        tooltip=["client:N", "outcome:N", "logins:Q"],
    )
    return chart


def exposure_map(exposure: pd.DataFrame) -> alt.LayerChart:
    """Mail ports of servers, and to whom they answer: the latest word on each.

    Args:
        exposure: columns `server`, `server_port`, `state`, `open_to`, `service` (event type `exposure`).
    """
    made = _altair()
    latest = exposure.drop_duplicates(["server", "server_port"], keep="last")
    told = pd.DataFrame({
        "server": latest["server"], "port": latest["server_port"].astype("Int64").astype("string"),
        "service": latest["service"],
        "state": [_exposure_word(state, list(open_to)) for state, open_to in
                  zip(latest["state"].astype(object), latest["open_to"], strict=True)],
    })
    rank = {word: number for number, word in enumerate(EXPOSURE_COLORS)}
    told = told.sort_values(["state", "server"], key=lambda column: column.map(rank).fillna(column)
                            if column.name == "state" else column, kind="stable")
    ports = sorted(told["port"].unique(), key=int)
    servers = list(told["server"].unique())
    most = max(1, CELLS // max(1, len(ports)))
    left = len(servers) - most
    told = told[told["server"].isin(servers[:most])]
    subtitle = f"and {left:,} more servers" if left > 0 else ""
    base = _chart(made, told, "Exposure", subtitle, width=made.Step(70), height=made.Step(22)).encode(
        x=made.X("port:N", title="port", sort=ports, axis=made.Axis(labelAngle=0, orient="top")),
        y=made.Y("server:N", title=None, sort=servers[:most], axis=made.Axis(labelLimit=320)))
    cells = base.mark_rect(stroke="white").encode(color=_color(made, "state", EXPOSURE_COLORS, told),
                                                  tooltip=["server:N", "port:N", "state:N", "service:N"])
    words = base.mark_text(fontSize=10).encode(text="service:N", color=made.condition(
        "datum.state == 'no answer'", made.value("#222"), made.value("#fff")))
    layers: alt.LayerChart = cells + words
    return layers


def session_turns(turns: pd.DataFrame) -> alt.Chart:
    """One session as a picture: bytes of each turn, the client's upwards and the server's downwards.

    Args:
        turns: columns `side` and `bytes`, in order (`analysis.session(flow_id).turns`).
    """
    made = _altair()
    drawn = turns.head(TICKS // 2)
    sign = drawn["side"].astype(object).map({"client": 1, "server": -1}).astype("int64")
    data = pd.DataFrame({"turn": range(1, len(drawn) + 1), "side": drawn["side"], "bytes": drawn["bytes"],
                         "signed": drawn["bytes"] * sign})
    subtitle = "the client's upwards, the server's downwards"
    if len(turns) > len(drawn):
        subtitle += f"; the first {len(drawn):,} of {len(turns):,} turns"
    base = _chart(made, data, "Bytes by turn", subtitle, height=180)
    chart: alt.Chart = base.mark_bar().encode(
        x=made.X("turn:Q", title="turn", axis=made.Axis(tickMinStep=1)),
        y=made.Y("signed:Q", title="bytes", scale=made.Scale(type="symlog", constant=64),
                axis=made.Axis(format="~s", tickCount=7, labelOverlap=True)),
        color=_color(made, "side", SIDE_COLORS, data),
        tooltip=["turn:Q", "side:N", "bytes:Q"],
    )
    return chart


# ---- parts -----------------------------------------------------------------------------------------------------------

def _altair() -> Any:
    try:
        import altair as alt
    except ImportError as error:
        raise UsageError("charts need altair: pip install 'imapids[report]'") from error
    return alt


def _counted(frame: pd.DataFrame, weight: str, columns: list[str]) -> pd.DataFrame:
    """The columns, and how many each row stands for."""
    counted = frame[columns].copy()
    counted[weight] = frame[weight].to_numpy("int64") if weight in frame else 1
    return counted


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Columns as altair's JSON knows them: words as text, and as text that is safe to show."""
    plain = {}
    for name, column in frame.items():
        if isinstance(column.dtype, pd.CategoricalDtype | pd.StringDtype) or column.dtype == object:
            plain[name] = column.astype(object).map(lambda word: shown(word) if isinstance(word, str) else None)
        else:
            plain[name] = column
    return pd.DataFrame(plain)


_STEPS = ("1s", "5s", "15s", "1min", "5min", "15min", "1h", "6h", "1D", "7D", "30D", "365D")


def _bin_width(span: pd.Timedelta) -> pd.Timedelta:
    """The smallest round step that cuts a span into at most BINS bars."""
    steps = [pd.Timedelta(step) for step in _STEPS]
    return next((step for step in steps if span / step <= BINS), steps[-1])


def _duration(step: pd.Timedelta) -> str:
    for seconds, name in ((86_400, "day"), (3_600, "hour"), (60, "minute"), (1, "second")):
        count = step.total_seconds() / seconds
        if count >= 1:
            return f"{count:g} {name}{'s' if count != 1 else ''}"
    return f"{step.total_seconds():g} seconds"


def _dates(times: pd.Series[Any]) -> str:
    """`2026-03-03 UTC`, or the first and the last day."""
    days = sorted({str(time.date()) for time in (times.min(), times.max())}) if len(times) else []
    return f"{' to '.join(days)} UTC" if days else "UTC"


def _time_axis(made: Any, times: pd.Series[Any]) -> Any:
    """Times in UTC, in 24 hours, with as much of the date as the span needs."""
    span = times.max() - times.min() if len(times) else pd.Timedelta(0)
    forms = ((pd.Timedelta("5min"), "%H:%M:%S"), (pd.Timedelta("1D"), "%H:%M"), (pd.Timedelta("7D"), "%m-%d %H:%M"))
    form = next((form for most, form in forms if span <= most), "%Y-%m-%d")
    return made.X("time:T", title=None, scale=made.Scale(type="utc"),
                  axis=made.Axis(format=form, tickCount=8, labelOverlap=True))


def _pair(key: Any) -> str:
    client, server, port = key
    return f"{client} > {f'[{server}]' if ':' in str(server) else server}:{port}"


def _exposure_word(state: Any, open_to: list[str]) -> str:
    if state == "open":
        return "open to the outside" if "wan" in open_to else "open inside"
    return "closed" if state == "closed" else "no answer"


def _color(made: Any, field: str, colors: dict[str, str], data: pd.DataFrame) -> Any:
    """A colour for each word, the same in every chart; only words that occur stand in the legend."""
    present = [word for word in colors if (data[field] == word).any()]
    strange = sorted({shown(str(word)) for word in set(data[field].dropna()) - set(colors)})
    shades = [*(colors[word] for word in present), *["#555"] * len(strange)]
    scale = made.Scale(domain=[*present, *strange], range=shades)
    return made.Color(f"{field}:N", title=None, scale=scale, legend=made.Legend(orient="top"))


def _chart(made: Any, data: pd.DataFrame, title: str, subtitle: str, **size: Any) -> Any:
    heading = made.TitleParams(title, anchor="start", **({"subtitle": subtitle} if subtitle else {}))
    return made.Chart(_plain(data), title=heading).properties(**{"width": "container"} | size)
