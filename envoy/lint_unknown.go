package envoy

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

func messageType(url string) protoreflect.MessageDescriptor {
	t, err := protoregistry.GlobalTypes.FindMessageByURL(url)
	if err != nil {
		return nil
	}
	return t.Descriptor()
}

// unknownFields reports and removes every key of a mapping that the message does
// not have. Kubernetes and Istio drop such a field without a word.
func (l *lint) unknownFields(path string, tree map[string]any, message protoreflect.MessageDescriptor) {
	if url, ok := tree["@type"].(string); ok && message.FullName() == "google.protobuf.Any" {
		message = messageType(url)
	}
	if message == nil || message.ParentFile().Package() == "google.protobuf" {
		return // printed in forms of their own, such as a duration
	}
	if message.Name() == "TypedStruct" {
		url, _ := at1(tree, "type_url").(string)
		if value, ok := tree["value"].(map[string]any); ok {
			l.unknownFields(path+".value", value, messageType(url))
		}
		return
	}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		if key == "@type" {
			continue
		}
		field := fieldOf(message, key)
		if field == nil {
			l.add(LevelError, "L25", dot(path, key), fmt.Sprintf("%s has no field %q: Envoy refuses it, Istio drops it without a word.", message.Name(), key),
				"Correct the spelling or the indentation.")
			delete(tree, key)
			continue
		}
		l.unknownInside(dot(path, key), tree[key], field)
	}
}

func (l *lint) unknownInside(path string, value any, field protoreflect.FieldDescriptor) {
	if field.IsMap() {
		entries, _ := value.(map[string]any)
		for _, key := range slices.Sorted(maps.Keys(entries)) {
			l.unknownInside(fmt.Sprintf("%s[%q]", path, key), entries[key], field.MapValue())
		}
		return
	}
	if field.Message() == nil {
		return
	}
	switch value := value.(type) {
	case map[string]any:
		l.unknownFields(path, value, field.Message())
	case []any:
		for i, element := range value {
			if m, ok := element.(map[string]any); ok {
				l.unknownFields(fmt.Sprintf("%s[%d]", path, i), m, field.Message())
			}
		}
	}
}

func dot(path, field string) string {
	if path == "" || strings.HasSuffix(path, " ") { // the name of a document
		return path + field
	}
	return path + "." + field
}
