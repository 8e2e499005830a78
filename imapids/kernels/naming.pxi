# The records of flows, made of the columns of the flow table: FlowNamer of imapids/flows/naming.py.

from cpython.unicode cimport PyUnicode_DecodeASCII

_OPENED = ("protocol", "client", "client_port", "server", "server_port", "vlan", "tunnels", "source", "interface",
           "flow_id", "community_id", "direction", "watched", "peeked", "roles_by", "midstream", "first_packet",
           "start_ns", "anomalies", "limits")
_COMPLETED = ("end_ns", "last_packet", "packets_client", "packets_server", "bytes_client", "bytes_server",
              "flags_client", "flags_server", "state", "end_reason")
cdef enum:
    NAMED_PROTOCOL, NAMED_CLIENT, NAMED_CLIENT_PORT, NAMED_SERVER, NAMED_SERVER_PORT, NAMED_VLAN, NAMED_TUNNELS
    NAMED_SOURCE, NAMED_INTERFACE, NAMED_ID, NAMED_COMMUNITY, NAMED_DIRECTION, NAMED_WATCHED, NAMED_PEEKED, NAMED_ROLES
    NAMED_MIDSTREAM, NAMED_FIRST, NAMED_START, NAMED_ANOMALIES, NAMED_LIMITS
    OVER_END, OVER_LAST, OVER_PACKETS_CLIENT, OVER_PACKETS_SERVER, OVER_BYTES_CLIENT, OVER_BYTES_SERVER
    OVER_FLAGS_CLIENT, OVER_FLAGS_SERVER, OVER_STATE, OVER_REASON
cdef enum:
    ROW_TCP = 6
    FLAG_FIN = 1, FLAG_SYN = 2, FLAG_RST = 4
    WAS_OPEN = 0, WAS_CLOSED = 1, WAS_REJECTED = 2, WAS_SILENT = 3
    IDENTITY_BYTES = 49
    HASH_BYTES = 7
    HASH_DROPPED = 13
    # Bits of eight bytes that are no part of a flow's hash: the eighth byte, and five of seven bytes.
    COMMUNITY_CHARS = 30

cdef const char *BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def ends_of(source, const int64_t[::1] rows, uint64_t[:, ::1] ends):
    """Addresses of clients and servers of rows: client hi, lo, server hi, lo, into shape (4, rows)."""
    cdef const uint64_t[:, :] keys = source["keys"]
    cdef const uint8_t[:] client_end = source["client_end"]
    cdef Py_ssize_t i, row, client
    for i in range(rows.shape[0]):
        row = rows[i]
        client = 2 if client_end[row] == 1 else 0
        ends[0, i], ends[1, i] = keys[row, client], keys[row, client + 1]
        ends[2, i], ends[3, i] = keys[row, 2 - client], keys[row, 3 - client]


cdef object community_text(uint64_t a_hi, uint64_t a_lo, uint64_t b_hi, uint64_t b_lo, uint32_t ports,
                           uint8_t protocol):
    """The Community ID of a TCP or UDP flow: `community_ids` of imapids/protocols/identifiers.py."""
    cdef uint8_t[SHA1_MOST] data
    cdef uint8_t[21] digest
    cdef char[COMMUNITY_CHARS] text
    cdef Py_ssize_t size, i
    cdef uint32_t three
    data[0] = data[1] = 0
    if a_hi == 0 and b_hi == 0 and a_lo >> 32 == 0xFFFF and b_lo >> 32 == 0xFFFF:
        put_32(data + 2, <uint32_t>a_lo)
        put_32(data + 6, <uint32_t>b_lo)
        size = 10
    else:
        put_64(data + 2, a_hi)
        put_64(data + 10, a_lo)
        put_64(data + 18, b_hi)
        put_64(data + 26, b_lo)
        size = 34
    data[size], data[size + 1] = protocol, 0
    put_32(data + size + 2, ports)
    sha1_short(data, size + 6, digest)
    digest[20] = 0
    text[0], text[1] = c"1", c":"
    for i in range(7):
        three = <uint32_t>digest[3 * i] << 16 | <uint32_t>digest[3 * i + 1] << 8 | digest[3 * i + 2]
        text[2 + 4 * i], text[3 + 4 * i] = BASE64[three >> 18], BASE64[three >> 12 & 63]
        text[4 + 4 * i], text[5 + 4 * i] = BASE64[three >> 6 & 63], BASE64[three & 63]
    text[COMMUNITY_CHARS - 1] = c"="
    return PyUnicode_DecodeASCII(text, COMMUNITY_CHARS, NULL)


cdef object dotted(uint32_t address):
    """The text of an IPv4 address."""
    cdef char[16] text
    cdef Py_ssize_t size = 0
    cdef uint32_t byte
    cdef int shift
    for shift in range(24, -8, -8):
        byte = address >> shift & 255
        if byte >= 100:
            text[size] = 48 + byte // 100
            size += 1
        if byte >= 10:
            text[size] = 48 + byte // 10 % 10
            size += 1
        text[size], text[size + 1] = 48 + byte % 10, c"."
        size += 2
    return PyUnicode_DecodeASCII(text, size - 1, NULL)


cdef class FlowRecords:
    """Makes and completes records of flows."""

    cdef Layout flow
    cdef object alike, address_text, flow_hash, way, origin
    cdef tuple roles, states
    cdef dict texts, ways
    cdef Py_ssize_t most_texts, watched, peeked

    def __init__(self, *, alike, address_text, flow_hash, way, origin, tuple roles, tuple states, Py_ssize_t watched,
                 Py_ssize_t peeked, Py_ssize_t most_texts):
        """
        Args:
            alike: a Flow with what is the same in all new ones.
            address_text: the text of (hi, lo), asked for IPv6; flow_hash: of a key that is longer than a block.
            way: of the number of an encapsulation, its VLANs and tunnels and what they add to the flow's key.
            origin: of the numbers of a capture and an interface, their names.
            roles, states: names by number.
            watched, peeked: values of the column `selected`.
            most_texts: addresses whose text is remembered.
        """
        self.flow = Layout(type(alike), _OPENED + _COMPLETED)
        if not hasattr(alike, "__struct_fields__"):
            raise TypeError("flows are no records")
        self.alike, self.address_text, self.flow_hash, self.way, self.origin = (
            alike, address_text, flow_hash, way, origin)
        self.roles, self.states, self.watched, self.peeked = roles, states, watched, peeked
        self.texts, self.ways, self.most_texts = {}, {}, most_texts

    def make(self, source, const int64_t[::1] rows, const uint64_t[:, ::1] ends, list directions):
        """New records of rows. `ends`: what `ends_of` says of them."""
        cdef const uint64_t[:, :] keys = source["keys"]
        cdef const uint8_t[:] protocol = source["protocol"], client_end = source["client_end"], roles = source["roles"]
        cdef const uint8_t[:] selected = source["selected"], began = source["began"].view("u1")
        cdef const uint32_t[:] paths = source["path"], first_seq = source["first_seq"]
        cdef const int32_t[:] captures = source["source"]
        cdef const uint16_t[:] interfaces = source["interface"]
        cdef const int64_t[:] first_ns = source["first_ns"], first_number = source["first_number"]
        cdef Layout layout = self.flow
        cdef Py_ssize_t i, row
        cdef uint32_t ports
        cdef bint turned
        cdef dict origins = {}
        cdef list made = []
        if ends.shape[0] != 4 or ends.shape[1] != rows.shape[0] or len(directions) != rows.shape[0]:
            raise ValueError("two ends and a direction for each row")
        if len(self.texts) > self.most_texts:
            self.texts.clear()
        for i in range(rows.shape[0]):
            row = rows[i]
            turned, ports = client_end[row] == 1, <uint32_t>(keys[row, 4] >> 32)
            way = self.way_of(paths[row])
            place = <int64_t>captures[row] << 16 | interfaces[row]
            origin = origins.get(place)
            if origin is None:
                origin = origins[place] = self.origin(captures[row], interfaces[row])
            number = self.identity(keys[row, 0], keys[row, 1], keys[row, 2], keys[row, 3], ports, first_ns[row],
                                   first_seq[row], protocol[row], <bytes>(<tuple>way)[2])
            community = community_text(keys[row, 0], keys[row, 1], keys[row, 2], keys[row, 3], ports, protocol[row])
            client, server = self.text(ends[0, i], ends[1, i]), self.text(ends[2, i], ends[3, i])
            role, anomalies, limits = self.roles[roles[row]], {}, []
            flow = layout.twin(self.alike)
            layout.write(flow, NAMED_PROTOCOL, "TCP" if protocol[row] == ROW_TCP else "UDP")
            layout.write(flow, NAMED_CLIENT, client)
            layout.write(flow, NAMED_CLIENT_PORT, ports & 0xFFFF if turned else ports >> 16)
            layout.write(flow, NAMED_SERVER, server)
            layout.write(flow, NAMED_SERVER_PORT, ports >> 16 if turned else ports & 0xFFFF)
            layout.write(flow, NAMED_VLAN, (<tuple>way)[0])
            layout.write(flow, NAMED_TUNNELS, (<tuple>way)[1])
            layout.write(flow, NAMED_SOURCE, (<tuple>origin)[0])
            layout.write(flow, NAMED_INTERFACE, (<tuple>origin)[1])
            layout.write(flow, NAMED_ID, number)
            layout.write(flow, NAMED_COMMUNITY, community)
            layout.write(flow, NAMED_DIRECTION, directions[i])
            layout.write(flow, NAMED_WATCHED, selected[row] == self.watched)
            layout.write(flow, NAMED_PEEKED, selected[row] == self.peeked)
            layout.write(flow, NAMED_ROLES, role)
            layout.write(flow, NAMED_MIDSTREAM, began[row] == 0)
            layout.write(flow, NAMED_FIRST, first_number[row])
            layout.write(flow, NAMED_START, first_ns[row])
            layout.write(flow, NAMED_ANOMALIES, anomalies)
            layout.write(flow, NAMED_LIMITS, limits)
            made.append(flow)
        return made

    def complete(self, source, const int64_t[::1] rows, list flows, list reasons):
        """Fills in what is known of flows when they are over, each for its reason."""
        cdef const uint8_t[:] protocol = source["protocol"], client_end = source["client_end"]
        cdef const uint8_t[:] unreachable = source["unreachable"].view("u1")
        cdef const uint8_t[:, :] flags = source["flags"]
        cdef const int64_t[:, :] packets = source["packets"], size = source["bytes"]
        cdef const int64_t[:] last_ns = source["last_ns"], last_number = source["last_number"]
        cdef Layout layout = self.flow
        cdef Py_ssize_t i, row, client, server
        cdef uint8_t of_client, of_server
        cdef int state
        if len(flows) != rows.shape[0] or len(reasons) != rows.shape[0]:
            raise ValueError("a row and a reason for each flow")
        for i in range(rows.shape[0]):
            flow, row = flows[i], rows[i]
            layout.check(flow)
            client = 1 if client_end[row] == 1 else 0
            server = 1 - client
            of_client, of_server = flags[row, client], flags[row, server]
            state = WAS_CLOSED if (of_client | of_server) & (FLAG_FIN | FLAG_RST) else WAS_OPEN
            if packets[row, server] == 0 and size[row, client] == 0:
                state = WAS_SILENT
            if (protocol[row] == ROW_TCP and of_server & (FLAG_RST | FLAG_SYN) == FLAG_RST and size[row, server] == 0
                    and of_client & FLAG_SYN) or (unreachable[row] and packets[row, server] == 0):
                state = WAS_REJECTED
            reason = reasons[i]
            if (of_client | of_server) & (FLAG_FIN | FLAG_RST) and (reason == "idle" or reason == "end-of-capture"):
                reason = "rst" if (of_client | of_server) & FLAG_RST else "fin"
            layout.write(flow, OVER_END, last_ns[row])
            layout.write(flow, OVER_LAST, last_number[row])
            layout.write(flow, OVER_PACKETS_CLIENT, packets[row, client])
            layout.write(flow, OVER_PACKETS_SERVER, packets[row, server])
            layout.write(flow, OVER_BYTES_CLIENT, size[row, client])
            layout.write(flow, OVER_BYTES_SERVER, size[row, server])
            layout.write(flow, OVER_FLAGS_CLIENT, of_client)
            layout.write(flow, OVER_FLAGS_SERVER, of_server)
            layout.write(flow, OVER_STATE, self.states[state])
            layout.write(flow, OVER_REASON, reason)

    cdef object way_of(self, uint32_t path):
        """VLANs, tunnels and their part of the key: of all flows on one way the same."""
        cdef PyObject *found
        number = path
        found = PyDict_GetItemWithError(self.ways, number)
        if found is not NULL:
            return <object>found
        way = self.way(number)
        if type(way) is not tuple or len(way) != 3 or type(way[2]) is not bytes:
            raise TypeError("a way is VLANs, tunnels and bytes")
        self.ways[number] = way
        return way

    cdef object text(self, uint64_t hi, uint64_t lo):
        """The text of an address; the same ones come again and again."""
        cdef PyObject *found
        key = <object>hi << 64 | lo if hi else lo
        found = PyDict_GetItemWithError(self.texts, key)
        if found is not NULL:
            return <object>found
        text = self.texts[key] = self.address_text(hi, lo) if hi or lo >> 32 != 0xFFFF else dotted(<uint32_t>lo)
        return text

    cdef object identity(self, uint64_t a_hi, uint64_t a_lo, uint64_t b_hi, uint64_t b_lo, uint32_t ports,
                         int64_t start, uint32_t seq, uint8_t protocol, bytes way):
        """The flow's hash: of its key, the time of its first packet, the first sequence number, and its way."""
        cdef uint8_t[BLAKE2_BLOCK] data
        put_64(data, a_hi)
        put_64(data + 8, a_lo)
        put_64(data + 16, b_hi)
        put_64(data + 24, b_lo)
        put_32(data + 32, ports)
        put_64(data + 36, <uint64_t>start)
        put_32(data + 44, seq)
        data[48] = protocol
        if len(way) > BLAKE2_BLOCK - IDENTITY_BYTES:
            return self.flow_hash((<char *>data)[:IDENTITY_BYTES] + way)
        memcpy(data + IDENTITY_BYTES, <const char *>way, len(way))
        return blake2b_short(data, IDENTITY_BYTES + len(way), HASH_BYTES) >> HASH_DROPPED


_TOLD_END = ("time_ns", "packet", "reason", "known")
_TOLD_UPDATE = ("flow", "pieces", "key", "late")
cdef enum:
    TOLD_END_TIME, TOLD_END_PACKET, TOLD_END_REASON, TOLD_END_KNOWN, TOLD_END_FIELDS
cdef enum:
    TOLD_UPDATE_FLOW, TOLD_UPDATE_PIECES, TOLD_UPDATE_KEY, TOLD_UPDATE_LATE, TOLD_UPDATE_FIELDS


cdef class LastUpdates:
    """The last updates of flows that are over: `FlowEnder._tell` of imapids/flows/ending.py."""

    cdef Layout flow, end, update

    def __init__(self, flow, end, update):
        """Classes: Flow, StreamEnd, FlowUpdate."""
        self.flow = Layout(flow, ("end_reason",))
        self.end, self.update = Layout(end, _TOLD_END), Layout(update, _TOLD_UPDATE)
        if self.end.count != TOLD_END_FIELDS or self.update.count != TOLD_UPDATE_FIELDS:
            raise TypeError("ends or updates have other fields than those that are written")

    def make(self, list flows, list pieces, const int64_t[::1] key, const int64_t[::1] time_ns,
             const int64_t[::1] packet, const int64_t[::1] known):
        """An update for each flow: its pieces, a list of its own to which the end is added."""
        cdef Py_ssize_t i
        cdef list updates = []
        if len(pieces) != len(flows):
            raise ValueError("pieces for each flow")
        for i in range(len(flows)):
            flow, own = flows[i], <list?>pieces[i]
            self.flow.check(flow)
            reason, number, when, last, shown = self.flow.read(flow, 0), key[i], time_ns[i], packet[i], known[i]
            end, update = self.end.empty(), self.update.empty()
            self.end.write(end, TOLD_END_TIME, when)
            self.end.write(end, TOLD_END_PACKET, last)
            self.end.write(end, TOLD_END_REASON, reason)
            self.end.write(end, TOLD_END_KNOWN, shown)
            (<list>own).append(end)
            self.update.write(update, TOLD_UPDATE_FLOW, flow)
            self.update.write(update, TOLD_UPDATE_PIECES, own)
            self.update.write(update, TOLD_UPDATE_KEY, number)
            self.update.write(update, TOLD_UPDATE_LATE, None)
            updates.append(update)
        return updates
