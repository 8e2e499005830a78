# What becomes of a match where no line is due: it is counted by the alert that is open (detect/rolling.py), or fed to
# the one correlation that builds on its rule (detect/windows.py), and that is all.


@cython.final
cdef class Feed:
    """Windows.feed for the newest event of a group that there is, where nothing is counted but the events."""

    cdef Layout event, flow, group, entry, hit
    cdef object windows, groups, orders, to_end, reaches, threshold, span_ns, base, text, limit
    cdef tuple key_at
    cdef tuple rules
    cdef Py_ssize_t shown, behind
    cdef Py_ssize_t time_at, flow_at, packet_at, entries_at, head_at, tally_at, thin_at, entry_time_at

    def __init__(self, *, Layout event not None, Layout flow not None, Layout group not None, Layout entry not None,
                 Layout hit not None, windows, groups, orders, reaches, threshold, span_ns, limit, Py_ssize_t shown,
                 Py_ssize_t behind, tuple names not None, base, text, tuple rules not None):
        """
        Args:
            entry, hit: of the classes Entry and Hit, with the fields that those have.
            windows: what does all else with a group (`_advance`).
            groups: by key, the quietest first.
            orders: counts the entries.
            reaches, threshold: whether a measure is enough; `reaches` is None where any is.
            limit, shown, behind: entries that a group may hold, that a hit shows, that lie behind the newest window.
            names: the fields of the flow that make the key.
            base, text: which of the correlation's rules it is, and its title.
            rules: what Recount.counted is told of the correlation.
        """
        self.event, self.flow, self.group, self.entry, self.hit = event, flow, group, entry, hit
        if entry.names != ("time_ns", "order", "base", "value", "text", "packet"):
            raise TypeError("an entry has other fields")
        if hit.names != ("group", "metric", "first_ns", "entries"):
            raise TypeError("a hit has other fields")
        self.windows, self.groups, self.orders, self.to_end = windows, groups, orders, groups.move_to_end
        self.reaches, self.threshold, self.span_ns = reaches, threshold, span_ns
        self.limit, self.shown, self.behind = limit, shown, behind
        self.key_at, self.base, self.text = tuple([flow.place(name) for name in names]), base, text
        self.rules = rules
        self.time_at, self.flow_at, self.packet_at = [event.place(name) for name in ("time_ns", "flow", "packet")]
        self.entries_at, self.head_at = group.place("entries"), group.place("head")
        self.tally_at, self.thin_at = group.place("tally"), group.place("thin_from")
        self.entry_time_at = entry.place("time_ns")

    cdef object fed(self, object event):
        """The hit, or None; NotImplemented where nothing was done: Windows.feed is to be asked."""
        cdef object flow, group, time_ns, key
        cdef list entries
        cdef PyObject *known
        cdef Py_ssize_t which, size
        if type(event) is not self.event.record:
            return NotImplemented
        flow = self.event.read(event, self.flow_at)
        if type(flow) is not self.flow.record:
            return NotImplemented
        key = PyTuple_New(len(self.key_at))
        for which in range(len(self.key_at)):
            _put(key, which, self.flow.read(flow, self.key_at[which]))
        known = PyDict_GetItemWithError(self.groups, key)
        if known is NULL:
            return NotImplemented
        group, time_ns = <object>known, self.event.read(event, self.time_at)
        self.group.check(group)
        entries = self.group.read(group, self.entries_at)
        size = len(entries)
        if size == 0 or time_ns < self.time_of(entries[size - 1]):
            return NotImplemented
        self.to_end(key)
        self.add(group, entries, time_ns, self.event.read(event, self.packet_at))
        return self.newest(key, group, time_ns)

    cdef object time_of(self, object entry):
        self.entry.check(entry)
        return self.entry.read(entry, self.entry_time_at)

    cdef int add(self, object group, list entries, object time_ns, object packet) except -1:
        """Adds the newest entry, and moves the window where that is due."""
        cdef object entry = self.entry.empty()
        cdef Py_ssize_t place, size, head
        for place, value in enumerate((time_ns, next(self.orders), self.base, None, self.text, packet)):
            self.entry.write(entry, place, value)
        entries.append(entry)
        self.group.read(group, self.tally_at).add(entry)
        size, head = len(entries), self.group.read(group, self.head_at)
        if (head > self.behind or size >= self.group.read(group, self.thin_at) or size > self.limit
                or self.time_of(entries[head]) < time_ns - self.span_ns):
            self.windows._advance(group)
        return 0

    cdef object newest(self, object key, object group, object time_ns):
        """Windows._newest."""
        cdef list entries = self.group.read(group, self.entries_at)
        cdef Py_ssize_t place, head = self.group.read(group, self.head_at), size = len(entries)
        cdef object hit, metric = self.group.read(group, self.tally_at).measure(time_ns - self.span_ns)
        if metric is None or (self.reaches is not None and not self.reaches(metric, self.threshold)):
            return None
        hit = self.hit.empty()
        shown = entries[head if head > size - self.shown else size - self.shown :]
        for place, value in enumerate((key, metric, self.time_of(entries[head]), shown)):
            self.hit.write(hit, place, value)
        return hit


@cython.final
cdef class Recount:
    """RollingAlerts.fire where the alert is open and no line is due: the match is counted, and that is all."""

    cdef Layout event
    cdef Layout flow
    cdef Layout state
    cdef object opened
    cdef object to_end
    cdef object idle_ns
    cdef dict subjects
    cdef Py_ssize_t time_at
    cdef Py_ssize_t flow_at
    cdef Py_ssize_t count_at
    cdef Py_ssize_t last_at
    cdef Py_ssize_t next_at

    def __init__(self, Layout event not None, Layout flow not None, Layout state not None, object opened,
                 object idle_ns, dict subjects not None):
        """
        Args:
            opened: the alerts (`state`) by (rule id, subject), the quietest first.
            subjects: for each kind of subject the fields of the flow that make it.
        """
        self.event, self.flow, self.state, self.idle_ns = event, flow, state, idle_ns
        self.opened, self.to_end = opened, opened.move_to_end
        self.subjects = {kind: tuple([flow.place(name) for name in names]) for kind, names in subjects.items()}
        self.time_at, self.flow_at = event.place("time_ns"), event.place("flow")
        self.count_at, self.last_at, self.next_at = [state.place(name) for name in ("count", "last_ns", "next_update")]

    def counted_on(self, list matches not None, Py_ssize_t start, list events not None, dict quiet not None):
        """The first of these matches, from `start` on, with which more is to be done (their number where there is
        none), and what is done with it: how many of its rules are counted, or the hit of the correlation that it fed.

        Args:
            matches: (place of the event, rules that hold) of each.
            quiet: for rules that hold what `counted` is told of them, or the Feed of their one correlation.
        """
        cdef Py_ssize_t at, done
        cdef object rules = None, last = None, event, hit
        for at in range(start, len(matches)):
            place, matched = matches[at]
            if matched is not last:
                last, rules = matched, quiet.get(matched)
            if rules is None:
                return at, 0
            event = events[place]
            if type(rules) is not Feed:
                done = self.counted(rules, event)
                if done < len(<tuple>rules):
                    return at, done
                continue
            hit = (<Feed>rules).fed(event)
            if hit is NotImplemented:
                return at, 0
            if hit is not None and not self.counted((<Feed>rules).rules, event):
                return at, hit
        return len(matches), 0

    cpdef Py_ssize_t counted(self, tuple rules, object event) except -1:
        """How many of these matches of an event, from the first on, are counted now; the next one is for `fire`.

        Args:
            rules: (rule id, kind of subject) of each.
        """
        cdef object flow, key, rule, state, time_ns, last_ns, count
        cdef tuple subject, places
        cdef PyObject *known
        cdef Py_ssize_t at, which
        if type(event) is not self.event.record:
            return 0
        flow, time_ns = self.event.read(event, self.flow_at), self.event.read(event, self.time_at)
        if type(flow) is not self.flow.record:
            return 0
        for at in range(len(rules)):
            rule = rules[at]
            places = self.subjects.get(rule[1])
            if places is None:
                return at
            subject = PyTuple_New(len(places) + 1)
            _put(subject, 0, rule[1])
            for which in range(len(places)):
                _put(subject, which + 1, self.flow.read(flow, places[which]))
            key = rule[0], subject
            known = PyDict_GetItemWithError(self.opened, key)
            if known is NULL:
                return at
            state = <object>known
            if type(state) is not self.state.record:
                return at
            last_ns, count = self.state.read(state, self.last_at), self.state.read(state, self.count_at) + 1
            if time_ns - last_ns > self.idle_ns or count >= self.state.read(state, self.next_at):
                return at
            self.to_end(key)
            self.state.write(state, self.count_at, count)
            if time_ns > last_ns:
                self.state.write(state, self.last_at, time_ns)
        return len(rules)
