// What of fmt is no template, and the templates that its headers only declare: compiled here, once.
// With FMT_HEADER_ONLY each file that formats would compile them anew, six seconds of clang with
// sanitizers; the compiled library of Debian's package would be a shared one to depend on.
#include <fmt/format-inl.h>

template void fmt::detail::vformat_to<char>(fmt::detail::buffer<char>&, fmt::string_view,
                                            fmt::format_args, fmt::detail::locale_ref);
template fmt::detail::thousands_sep_result<char> fmt::detail::thousands_sep_impl<char>(
    fmt::detail::locale_ref);
template char fmt::detail::decimal_point_impl<char>(fmt::detail::locale_ref);
