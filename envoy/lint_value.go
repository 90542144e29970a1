package envoy

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// decode reports what Envoy's definition does not have and reads the rest.
// It is false when nothing could be read.
func (l *lint) decode(path string, tree map[string]any, m proto.Message) bool {
	known, ok := foreign(tree).(map[string]any)
	if !ok {
		return false
	}
	d := m.ProtoReflect().Descriptor()
	if !l.running {
		l.unknownFields(path, known, d)
	}
	if err := l.fill(m, known); err == nil {
		return true
	}
	// One bad value must not hide the others.
	reported := len(l.found)
	l.badValues(path, known, d)
	proto.Reset(m)
	err := l.fill(m, known)
	if err != nil && len(l.found) == reported {
		l.unreadable(path, err)
	}
	return err == nil
}

func (l *lint) fill(m proto.Message, tree map[string]any) error {
	j, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	return protojson.UnmarshalOptions{DiscardUnknown: l.running}.Unmarshal(j, m)
}

func (l *lint) unreadable(path string, err error) {
	_, why, found := strings.Cut(err.Error(), "): ") // where the value stands in a text that nobody sees
	if !found {
		why = err.Error()
	}
	l.add(LevelError, "L25", orDefault(strings.TrimSpace(path), "(document)"), fmt.Sprintf("Envoy cannot read this: %s.", why), "Correct the value.")
}

// badValues reports every value that its field cannot take, and removes it.
func (l *lint) badValues(path string, tree map[string]any, d protoreflect.MessageDescriptor) {
	if url, ok := tree["@type"].(string); ok && d.FullName() == "google.protobuf.Any" {
		if d = messageType(url); d == nil {
			return
		}
	}
	for _, key := range slices.Sorted(maps.Keys(tree)) {
		field := fieldOf(d, key)
		if field == nil {
			continue
		}
		value := tree[key]
		if field.Kind() == protoreflect.BoolKind && !field.IsList() && (value == "true" || value == "false") {
			value = value == "true" // so does Envoy
			tree[key] = value
		}
		err := l.fill(dynamicpb.NewMessage(d), map[string]any{key: value})
		if err == nil {
			continue
		}
		reported := len(l.found)
		l.badInside(dot(path, key), value, field)
		if l.fill(dynamicpb.NewMessage(d), map[string]any{key: value}) == nil {
			continue
		}
		if len(l.found) == reported {
			l.unreadable(dot(path, key), err)
		}
		delete(tree, key)
	}
}

func (l *lint) badInside(path string, value any, field protoreflect.FieldDescriptor) {
	message := field.Message()
	if field.IsMap() {
		message = field.MapValue().Message()
	}
	if message == nil || ownForm(message) {
		return
	}
	switch value := value.(type) {
	case map[string]any:
		if !field.IsMap() {
			l.badValues(path, value, message)
			return
		}
		for _, key := range slices.Sorted(maps.Keys(value)) {
			if m, ok := value[key].(map[string]any); ok {
				l.badValues(fmt.Sprintf("%s[%q]", path, key), m, message)
			}
		}
	case []any:
		for i, element := range value {
			if m, ok := element.(map[string]any); ok {
				l.badValues(fmt.Sprintf("%s[%d]", path, i), m, message)
			}
		}
	}
}

// ownForm is for messages that JSON writes in a form of their own, such as a
// duration.
func ownForm(d protoreflect.MessageDescriptor) bool {
	return d.ParentFile().Package() == "google.protobuf" && d.FullName() != "google.protobuf.Any"
}

func fieldOf(d protoreflect.MessageDescriptor, key string) protoreflect.FieldDescriptor {
	if f := d.Fields().ByName(protoreflect.Name(key)); f != nil {
		return f
	}
	return d.Fields().ByJSONName(key)
}

// foreign replaces packed messages of types that are not known here by a
// [wrapperspb.StringValue] with the name of the type.
func foreign(n any) any {
	switch n := n.(type) {
	case map[string]any:
		if url, ok := n["@type"].(string); ok && messageType(url) == nil {
			return map[string]any{"@type": "type.googleapis.com/google.protobuf.StringValue", "value": url}
		}
		out := make(map[string]any, len(n))
		for k, v := range n {
			out[k] = foreign(v)
		}
		return out
	case []any:
		out := make([]any, len(n))
		for i, v := range n {
			out[i] = foreign(v)
		}
		return out
	}
	return n
}
