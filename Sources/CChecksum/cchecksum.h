// The processor's own CRC-32C instruction, which Swift cannot emit. Whoever calls fleet_crc32c has asked
// fleet_crc32c_is_supported first; the register is passed as it stands, without the inversions at both ends.
#ifndef FLEET_CCHECKSUM_H
#define FLEET_CCHECKSUM_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

#include <cpuid.h>

// Intel SDM, CPUID leaf 1: ECX bit 20 is SSE4.2, which brought CRC32.
static inline int fleet_crc32c_is_supported(void) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c >> 20 & 1) != 0;
}

#define FLEET_CRC_WORD(state, word) ((uint32_t)__builtin_ia32_crc32di(state, word))
#define FLEET_CRC_BYTE(state, byte) __builtin_ia32_crc32qi(state, byte)
#define FLEET_CRC_TARGET __attribute__((target("sse4.2")))

#elif defined(__aarch64__)

#include <sys/auxv.h>

// arch/arm64/include/uapi/asm/hwcap.h: HWCAP_CRC32 is bit 7.
static inline int fleet_crc32c_is_supported(void) { return (getauxval(AT_HWCAP) >> 7 & 1) != 0; }

#define FLEET_CRC_WORD(state, word) __builtin_arm_crc32cd(state, word)
#define FLEET_CRC_BYTE(state, byte) __builtin_arm_crc32cb(state, byte)
#define FLEET_CRC_TARGET __attribute__((target("crc")))

#else

static inline int fleet_crc32c_is_supported(void) { return 0; }

#endif

// Bytes of each of the three lanes below.
#define FLEET_CRC_LANE 512

static inline uint64_t fleet_word(const unsigned char *bytes) {
    uint64_t word;
    memcpy(&word, bytes, 8);
    return word;
}

// What `state` becomes through FLEET_CRC_LANE zero bytes: a row of 256 for each of its bytes.
static inline uint32_t fleet_crc32c_shift(uint32_t state, const uint32_t *shift) {
    return shift[state & 255] ^ shift[256 + (state >> 8 & 255)] ^ shift[512 + (state >> 16 & 255)]
        ^ shift[768 + (state >> 24)];
}

#if defined(FLEET_CRC_TARGET)

// The instruction takes one word a cycle but gives its result three cycles later, so three lanes run side by side and
// are joined: a checksum is linear, so a lane's state is carried over the bytes behind it by `shift`, 4 x 256 numbers.
FLEET_CRC_TARGET
static inline uint32_t fleet_crc32c(uint32_t state, const void *bytes, size_t count, const uint32_t *shift) {
    const unsigned char *next = (const unsigned char *)bytes;
    for (; count >= 3 * FLEET_CRC_LANE; count -= 3 * FLEET_CRC_LANE, next += 3 * FLEET_CRC_LANE) {
        uint32_t second = 0, third = 0;
        for (size_t i = 0; i < FLEET_CRC_LANE; i += 8) {
            state = FLEET_CRC_WORD(state, fleet_word(next + i));
            second = FLEET_CRC_WORD(second, fleet_word(next + FLEET_CRC_LANE + i));
            third = FLEET_CRC_WORD(third, fleet_word(next + 2 * FLEET_CRC_LANE + i));
        }
        state = fleet_crc32c_shift(state, shift) ^ second;
        state = fleet_crc32c_shift(state, shift) ^ third;
    }
    for (; count >= 8; count -= 8, next += 8) state = FLEET_CRC_WORD(state, fleet_word(next));
    for (; count > 0; count--) state = FLEET_CRC_BYTE(state, *next++);
    return state;
}

#else

static inline uint32_t fleet_crc32c(uint32_t state, const void *bytes, size_t count, const uint32_t *shift) {
    (void)bytes;
    (void)count;
    (void)shift;
    return state;
}

#endif
#endif
