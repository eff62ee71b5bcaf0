/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sanitizer: defines UNDER_SANITIZER in a build with the address sanitizer, gcc's or clang's. Its
 * runtime needs memory and system calls that nothing else here does.
 */
#ifndef TANDEM_SANITIZER_H
#define TANDEM_SANITIZER_H

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_SANITIZER 1
#endif
#endif

#endif
