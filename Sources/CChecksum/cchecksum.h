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

__attribute__((target("sse4.2")))
static inline uint32_t fleet_crc32c(uint32_t state, const void *bytes, size_t count) {
    const unsigned char *next = (const unsigned char *)bytes;
    uint64_t wide = state;
    for (; count >= 8; count -= 8, next += 8) {
        uint64_t word;
        memcpy(&word, next, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    state = (uint32_t)wide;
    for (; count > 0; count--) state = __builtin_ia32_crc32qi(state, *next++);
    return state;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

// arch/arm64/include/uapi/asm/hwcap.h: HWCAP_CRC32 is bit 7.
static inline int fleet_crc32c_is_supported(void) { return (getauxval(AT_HWCAP) >> 7 & 1) != 0; }

__attribute__((target("crc")))
static inline uint32_t fleet_crc32c(uint32_t state, const void *bytes, size_t count) {
    const unsigned char *next = (const unsigned char *)bytes;
    for (; count >= 8; count -= 8, next += 8) {
        uint64_t word;
        memcpy(&word, next, 8);
        state = __builtin_arm_crc32cd(state, word);
    }
    for (; count > 0; count--) state = __builtin_arm_crc32cb(state, *next++);
    return state;
}

#else

static inline int fleet_crc32c_is_supported(void) { return 0; }
static inline uint32_t fleet_crc32c(uint32_t state, const void *bytes, size_t count) {
    (void)bytes;
    (void)count;
    return state;
}

#endif
#endif
