// The media type rules live beside the waist, since the edge needs them too.
#pragma once

#include "api/content_type.h"

namespace ursula::stream {

using api::default_content_type;
using api::equal_ignoring_case;
using api::is_json;
using api::is_media_type;
using api::is_text;
using api::media_type;
using api::same_media_type;

}  // namespace ursula::stream
