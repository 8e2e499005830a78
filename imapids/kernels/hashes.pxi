# SHA-1 (RFC 3174) and BLAKE2b (RFC 7693) of what fits into one block: names of flows are made of little, and an object
# of hashlib for each costs more than the hash.

from libc.stdint cimport INT64_MIN, int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

cdef enum:
    SHA1_BLOCK = 64
    SHA1_MOST = 55
    # Bytes of a message that is one block with its end mark and its length.
    BLAKE2_BLOCK = 128
    BLAKE2_KEY = 64
    KEYED_BYTES = 8

cdef const char *HEX_DIGITS = b"0123456789abcdef"
cdef uint64_t[8] BLAKE2_START = [
    0x6A09E667F3BCC908, 0xBB67AE8584CAA73B, 0x3C6EF372FE94F82B, 0xA54FF53A5F1D36F1,
    0x510E527FADE682D1, 0x9B05688C2B3E6C1F, 0x1F83D9ABFB41BD6B, 0x5BE0CD19137E2179]
cdef uint8_t[160] BLAKE2_ORDER = [
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
    14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3,
    11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4,
    7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8,
    9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13,
    2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9,
    12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11,
    13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10,
    6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5,
    10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0]


cdef inline void put_32(uint8_t *to, uint32_t number) noexcept nogil:
    """Writes a number in network order."""
    to[0], to[1], to[2], to[3] = number >> 24, number >> 16 & 255, number >> 8 & 255, number & 255


cdef inline void put_64(uint8_t *to, uint64_t number) noexcept nogil:
    put_32(to, <uint32_t>(number >> 32))
    put_32(to + 4, <uint32_t>number)


cdef inline uint32_t rolled(uint32_t word, int left) noexcept nogil:
    return word << left | word >> (32 - left)


cdef inline uint64_t turned_right(uint64_t word, int right) noexcept nogil:
    return word >> right | word << (64 - right)


cdef void sha1_short(const uint8_t *data, Py_ssize_t size, uint8_t *digest) noexcept nogil:
    """The 20 bytes of SHA-1 of at most SHA1_MOST bytes."""
    cdef uint8_t[SHA1_BLOCK] block
    cdef uint32_t[80] words
    cdef uint32_t a = 0x67452301, b = 0xEFCDAB89, c = 0x98BADCFE, d = 0x10325476, e = 0xC3D2E1F0, mixed
    cdef int step
    memset(block, 0, SHA1_BLOCK)
    memcpy(block, data, size)
    block[size] = 0x80
    put_32(block + 60, <uint32_t>(8 * size))
    for step in range(16):
        words[step] = (<uint32_t>block[4 * step] << 24 | <uint32_t>block[4 * step + 1] << 16
                       | <uint32_t>block[4 * step + 2] << 8 | block[4 * step + 3])
    for step in range(16, 80):
        words[step] = rolled(words[step - 3] ^ words[step - 8] ^ words[step - 14] ^ words[step - 16], 1)
    for step in range(80):
        if step < 20:
            mixed = (d ^ (b & (c ^ d))) + <uint32_t>0x5A827999
        elif step < 40:
            mixed = (b ^ c ^ d) + <uint32_t>0x6ED9EBA1
        elif step < 60:
            mixed = ((b & c) | (d & (b | c))) + <uint32_t>0x8F1BBCDC
        else:
            mixed = (b ^ c ^ d) + <uint32_t>0xCA62C1D6
        mixed += rolled(a, 5) + e + words[step]
        e, d, c, b, a = d, c, rolled(b, 30), a, mixed
    put_32(digest, a + <uint32_t>0x67452301)
    put_32(digest + 4, b + <uint32_t>0xEFCDAB89)
    put_32(digest + 8, c + <uint32_t>0x98BADCFE)
    put_32(digest + 12, d + <uint32_t>0x10325476)
    put_32(digest + 16, e + <uint32_t>0xC3D2E1F0)


cdef inline void blake2_mix(uint64_t *v, int a, int b, int c, int d, uint64_t x, uint64_t y) noexcept nogil:
    """The function G of RFC 7693 section 3.1."""
    v[a] += v[b] + x
    v[d] = turned_right(v[d] ^ v[a], 32)
    v[c] += v[d]
    v[b] = turned_right(v[b] ^ v[c], 24)
    v[a] += v[b] + y
    v[d] = turned_right(v[d] ^ v[a], 16)
    v[c] += v[d]
    v[b] = turned_right(v[b] ^ v[c], 63)


cdef void blake2_take(uint64_t *state, const uint8_t *data, Py_ssize_t size, uint64_t total, bint is_last) noexcept nogil:
    """The function F of RFC 7693 section 3.2, with at most BLAKE2_BLOCK bytes; `total`: so many were taken then."""
    cdef uint8_t[BLAKE2_BLOCK] block
    cdef uint64_t[16] words
    cdef uint64_t[16] v
    cdef int step, k
    cdef const uint8_t *order
    memset(block, 0, BLAKE2_BLOCK)
    memcpy(block, data, size)
    for step in range(16):
        words[step] = 0
        for k in range(8):
            words[step] |= <uint64_t>block[8 * step + k] << (8 * k)
    for k in range(8):
        v[k], v[8 + k] = state[k], BLAKE2_START[k]
    v[12] ^= total
    if is_last:
        v[14] = ~v[14]
    for step in range(12):
        order = &BLAKE2_ORDER[16 * (step % 10)]
        blake2_mix(v, 0, 4, 8, 12, words[order[0]], words[order[1]])
        blake2_mix(v, 1, 5, 9, 13, words[order[2]], words[order[3]])
        blake2_mix(v, 2, 6, 10, 14, words[order[4]], words[order[5]])
        blake2_mix(v, 3, 7, 11, 15, words[order[6]], words[order[7]])
        blake2_mix(v, 0, 5, 10, 15, words[order[8]], words[order[9]])
        blake2_mix(v, 1, 6, 11, 12, words[order[10]], words[order[11]])
        blake2_mix(v, 2, 7, 8, 13, words[order[12]], words[order[13]])
        blake2_mix(v, 3, 4, 9, 14, words[order[14]], words[order[15]])
    for k in range(8):
        state[k] ^= v[k] ^ v[8 + k]


cdef void blake2_begin(uint64_t *state, int digest_size, int key_size) noexcept nogil:
    """The state before the first block. Both sizes are parameters of the hash: a shorter digest is not the begin of a
    longer one."""
    memcpy(state, BLAKE2_START, sizeof(BLAKE2_START))
    state[0] ^= 0x01010000 ^ <uint64_t>key_size << 8 ^ <uint64_t>digest_size


cdef uint64_t blake2b_short(const uint8_t *data, Py_ssize_t size, int digest_size) noexcept nogil:
    """The first 8 bytes of BLAKE2b of at most BLAKE2_BLOCK bytes, as a number in network order."""
    cdef uint64_t[8] state
    cdef uint64_t first = 0
    cdef int k
    blake2_begin(state, digest_size, 0)
    blake2_take(state, data, size, size, True)
    for k in range(8):
        first = first << 8 | (state[0] >> (8 * k) & 255)
    return first


@cython.final
cdef class KeyedHash:
    """What SecretHasher (imapids/protocols/secrets.py) says of nearly all secrets."""

    cdef uint64_t[8] begun
    """The state behind the block of the key."""
    cdef dict weak

    def __init__(self, bytes key not None, dict weak not None):
        """
        Args:
            key: at most 64 bytes.
            weak: passwords of which there is more to say, in lower case.
        """
        if not 0 < len(key) <= BLAKE2_KEY:
            raise ValueError("a key of 1 to 64 bytes")
        self.weak = weak
        blake2_begin(self.begun, KEYED_BYTES, <int>len(key))
        blake2_take(self.begun, <const uint8_t *>PyBytes_AS_STRING(key), len(key), BLAKE2_BLOCK, False)

    def of(self, bytes user not None, bytes secret not None):
        """The hash of a secret as hex digits; None where there is more to say of it, and where it is long."""
        return self.plain(PyBytes_AS_STRING(user), len(user), PyBytes_AS_STRING(secret), len(secret))

    cdef object plain(self, const char *user, Py_ssize_t user_size, const char *secret, Py_ssize_t size):
        """The same."""
        cdef uint64_t[8] state
        cdef char[2 * KEYED_BYTES] digits
        cdef bytes lower
        cdef char *letters
        cdef Py_ssize_t at
        cdef int k
        if not 0 < size <= BLAKE2_BLOCK:
            return None
        lower = PyBytes_FromStringAndSize(NULL, size)
        letters = PyBytes_AS_STRING(lower)
        for at in range(size):
            letters[at] = lower_case(secret[at])
        if PyDict_GetItemWithError(self.weak, lower) is not NULL:
            return None
        if size <= user_size:  # it may be the user's name, or the begin of it
            for at in range(size):
                if lower_case(user[at]) != letters[at]:
                    break
            else:
                return None
        memcpy(state, self.begun, sizeof(state))
        blake2_take(state, <const uint8_t *>secret, size, BLAKE2_BLOCK + size, True)
        for k in range(2 * KEYED_BYTES):
            digits[k] = HEX_DIGITS[state[0] >> (8 * (k // 2) + (0 if k & 1 else 4)) & 15]
        return PyUnicode_DecodeASCII(digits, 2 * KEYED_BYTES, NULL)


cdef inline char lower_case(char letter) noexcept nogil:
    return letter | 32 if c"A" <= letter <= c"Z" else letter


def sha1_of(bytes data):
    """SHA-1 of at most 55 bytes; ValueError where there are more."""
    cdef uint8_t[20] digest
    if len(data) > SHA1_MOST:
        raise ValueError("more than one block")
    sha1_short(data, len(data), digest)
    return (<char *>digest)[:20]


def blake2b_of(bytes data, int digest_size):
    """The first 8 bytes of BLAKE2b of at most 128 bytes, as a number; ValueError where there are more.

    Args:
        digest_size: 8 to 64, or 7 with one byte that is not of the digest.
    """
    if len(data) > BLAKE2_BLOCK or not 7 <= digest_size <= 64:
        raise ValueError("more than one block, or no size of a digest")
    return blake2b_short(data, len(data), digest_size)
