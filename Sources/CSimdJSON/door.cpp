// Walks a document with simdjson on-demand and writes it down as flat nodes; the only C++ that reads untrusted JSON.
//
// Every value is visited, also those nobody will ask for, because on-demand checks only what it visits. No exception is
// used: each step hands on an error code, and memory that can't be had is an error code too.
#include "include/CSimdJSON.h"

#include <simdjson.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace ondemand = simdjson::ondemand;
using simdjson::error_code;

namespace {

// Above this a parser gives its memory back after the next small document.
constexpr size_t kept_bytes = 256 * 1024;

struct walk {
    csimdjson_parser &parser;
    uint32_t max_depth;
    uint32_t max_nodes;
    const char *refusal; // our own reason to stop, when simdjson has none
};

} // namespace

struct csimdjson_parser {
    ondemand::parser parser;
    char *text = nullptr; // the document, followed by the padding that simdjson may read
    size_t text_room = 0;
    csimdjson_node *nodes = nullptr;
    uint32_t node_room = 0;
    uint32_t node_count = 0;

    ~csimdjson_parser() {
        std::free(text);
        std::free(nodes);
    }
};

namespace {

bool reserve_text(csimdjson_parser &parser, size_t size) {
    size_t needed = size + simdjson::SIMDJSON_PADDING;
    bool shrink = parser.text_room > kept_bytes && needed <= kept_bytes;
    if (parser.text_room >= needed && !shrink) return true;
    std::free(parser.text);
    parser.text_room = needed < 4096 ? 4096 : needed;
    parser.text = static_cast<char *>(std::malloc(parser.text_room));
    if (shrink) {
        std::free(parser.nodes);
        parser.nodes = nullptr;
        parser.node_room = 0;
        parser.parser = ondemand::parser();
    }
    if (parser.text == nullptr) parser.text_room = 0;
    return parser.text != nullptr;
}

error_code new_node(walk &walk, uint32_t &index) {
    csimdjson_parser &parser = walk.parser;
    if (parser.node_count == walk.max_nodes) {
        walk.refusal = "too many values";
        return simdjson::CAPACITY;
    }
    if (parser.node_count == parser.node_room) {
        uint32_t room = parser.node_room == 0 ? 64 : parser.node_room * 2;
        void *grown = std::realloc(parser.nodes, room * sizeof(csimdjson_node));
        if (grown == nullptr) return simdjson::MEMALLOC;
        parser.nodes = static_cast<csimdjson_node *>(grown);
        parser.node_room = room;
    }
    index = parser.node_count++;
    std::memset(&parser.nodes[index], 0, sizeof(csimdjson_node));
    return simdjson::SUCCESS;
}

error_code visit(walk &walk, ondemand::value value, uint32_t index, uint32_t depth);

error_code visit_object(walk &walk, ondemand::object object, uint32_t index, uint32_t depth) {
    for (auto field : object) {
        std::string_view key;
        ondemand::value value;
        uint32_t child;
        if (auto error = field.unescaped_key().get(key)) return error;
        if (auto error = field.value().get(value)) return error;
        if (auto error = new_node(walk, child)) return error;
        walk.parser.nodes[child].key = key.data();
        walk.parser.nodes[child].key_size = static_cast<uint32_t>(key.size());
        walk.parser.nodes[index].count++;
        if (auto error = visit(walk, value, child, depth + 1)) return error;
    }
    return simdjson::SUCCESS;
}

error_code visit_array(walk &walk, ondemand::array array, uint32_t index, uint32_t depth) {
    for (auto element : array) {
        ondemand::value value;
        uint32_t child;
        if (auto error = element.get(value)) return error;
        if (auto error = new_node(walk, child)) return error;
        walk.parser.nodes[index].count++;
        if (auto error = visit(walk, value, child, depth + 1)) return error;
    }
    return simdjson::SUCCESS;
}

error_code visit_number(ondemand::value value, csimdjson_node &node) {
    ondemand::number number;
    std::string_view digits = value.raw_json_token();
    while (!digits.empty() && digits.back() <= ' ') digits.remove_suffix(1); // up to the next token
    node.text = digits.data();
    node.text_size = static_cast<uint32_t>(digits.size());
    node.kind = CSIMDJSON_NUMBER;
    // A whole number beyond 64 bits is still a number.
    if (value.get_number().get(number)) return value.get_double().get(node.number);
    node.kind = number.is_int64() ? CSIMDJSON_INTEGER : CSIMDJSON_NUMBER;
    if (number.is_int64()) node.integer = number.get_int64();
    node.number = number.as_double();
    return simdjson::SUCCESS;
}

error_code visit_scalar(ondemand::value value, ondemand::json_type type, csimdjson_node &node) {
    if (type == ondemand::json_type::string) {
        std::string_view text;
        if (auto error = value.get_string().get(text)) return error;
        node.kind = CSIMDJSON_STRING;
        node.text = text.data();
        node.text_size = static_cast<uint32_t>(text.size());
        return simdjson::SUCCESS;
    }
    if (type == ondemand::json_type::boolean) {
        bool truth;
        if (auto error = value.get_bool().get(truth)) return error;
        node.kind = truth ? CSIMDJSON_TRUE : CSIMDJSON_FALSE;
        return simdjson::SUCCESS;
    }
    if (type == ondemand::json_type::number) return visit_number(value, node);
    // A word that starts with "n" but isn't null must be told from null.
    bool null;
    if (auto error = value.is_null().get(null)) return error;
    node.kind = CSIMDJSON_NULL;
    return null ? simdjson::SUCCESS : simdjson::N_ATOM_ERROR;
}

error_code visit(walk &walk, ondemand::value value, uint32_t index, uint32_t depth) {
    ondemand::json_type type;
    if (auto error = value.type().get(type)) return error;
    error_code error;
    if (type != ondemand::json_type::object && type != ondemand::json_type::array) {
        error = visit_scalar(value, type, walk.parser.nodes[index]);
    } else if (depth == walk.max_depth) {
        walk.refusal = "nested too deeply";
        error = simdjson::DEPTH_ERROR;
    } else if (type == ondemand::json_type::object) {
        ondemand::object object;
        walk.parser.nodes[index].kind = CSIMDJSON_OBJECT;
        error = value.get_object().get(object);
        if (!error) error = visit_object(walk, object, index, depth);
    } else {
        ondemand::array array;
        walk.parser.nodes[index].kind = CSIMDJSON_ARRAY;
        error = value.get_array().get(array);
        if (!error) error = visit_array(walk, array, index, depth);
    }
    walk.parser.nodes[index].next = walk.parser.node_count;
    return error;
}

// The root may only be a container: APIs here take nothing else, and on-demand treats root scalars apart.
error_code visit_root(walk &walk, ondemand::document &document) {
    uint32_t root;
    ondemand::value value;
    if (auto error = new_node(walk, root)) return error;
    if (auto error = document.get_value().get(value)) {
        if (error == simdjson::SCALAR_DOCUMENT_AS_VALUE) walk.refusal = "neither an object nor an array";
        return error;
    }
    if (auto error = visit(walk, value, root, 0)) return error;
    // Past the last token there is no location; a location means that a token is left.
    if (document.current_location().error()) return simdjson::SUCCESS;
    walk.refusal = "more text behind the document";
    return simdjson::TRAILING_CONTENT;
}

const csimdjson_node *fail(csimdjson_failure *failure, size_t offset, const char *message) {
    failure->offset = offset;
    failure->message = message;
    return nullptr;
}

} // namespace

extern "C" csimdjson_parser *csimdjson_new(void) { return new (std::nothrow) csimdjson_parser(); }

extern "C" void csimdjson_free(csimdjson_parser *parser) { delete parser; }

extern "C" const csimdjson_node *csimdjson_parse(
    csimdjson_parser *parser, const uint8_t *bytes, size_t size, uint32_t max_depth, uint32_t max_nodes,
    csimdjson_failure *failure) {
    if (size == 0) return fail(failure, 0, "empty");
    if (size >= UINT32_MAX) return fail(failure, 0, "too large");
    if (!reserve_text(*parser, size)) return fail(failure, 0, "out of memory");
    std::memcpy(parser->text, bytes, size);
    std::memset(parser->text + size, 0, simdjson::SIMDJSON_PADDING);
    parser->node_count = 0;

    ondemand::document document;
    walk walk{*parser, max_depth, max_nodes, nullptr};
    error_code error = parser->parser.iterate(parser->text, size, parser->text_room).get(document);
    if (error) return fail(failure, 0, simdjson::error_message(error));
    error = visit_root(walk, document);
    if (!error) return parser->nodes;
    const char *place = nullptr;
    size_t offset = size;
    if (document.current_location().get(place) == simdjson::SUCCESS) {
        offset = static_cast<size_t>(place - parser->text);
    }
    if (offset > size) offset = size;
    return fail(failure, offset, walk.refusal != nullptr ? walk.refusal : simdjson::error_message(error));
}
