// Marks an inner loop for the compiler to vectorise, with a second copy for AVX2 that is chosen
// when the program loads.
//
// For: loops over samples or bins that dominate a profile. Not for: anything with calls in it. No
// FMA: its results would differ between machines.
#pragma once

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SONOGATE_VECTORISE __attribute__((optimize("O3"), target_clones("avx2", "default")))
#else
#define SONOGATE_VECTORISE
#endif
