#include "base/slice.h"

#include <cstdlib>
#include <new>

namespace ursula::base {

Block* Block::make(std::size_t capacity) {
    VERIFY(capacity <= UINT32_MAX);
    void* memory = std::malloc(sizeof(Block) + capacity);
    VERIFY(memory != nullptr);
    Block* block = new (memory) Block();
    block->capacity_ = static_cast<std::uint32_t>(capacity);
    return block;
}

void Block::destroy(Block* block) {
    block->~Block();
    std::free(block);
}

}  // namespace ursula::base
