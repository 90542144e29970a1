package chart_test

import (
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

const sizePattern = `^(0|[1-9][0-9]*)(Ki|Mi|Gi|Ti)?$`

// configSchemas are JSON schemas of every message of the configuration. They
// hold names, shapes and words, so that helm refuses a typing error; ranges and
// what belongs together are for "portcullis check".
func configSchemas() map[string]any {
	all := map[string]any{
		"size": map[string]any{"type": []string{"integer", "string"}, "pattern": sizePattern, "minimum": 0},
	}
	addSchema(all, (&configv1.Config{}).ProtoReflect().Descriptor())
	config := all["portcullis.config.v1.Config"].(map[string]any)
	delete(config["properties"].(map[string]any), "listen") // the chart's
	return all
}

func addSchema(all map[string]any, m protoreflect.MessageDescriptor) {
	name := string(m.FullName())
	if all[name] != nil {
		return
	}
	properties := map[string]any{}
	all[name] = map[string]any{"type": "object", "additionalProperties": false, "properties": properties}
	for i := range m.Fields().Len() {
		f := m.Fields().Get(i)
		p := fieldSchema(all, f)
		if f.IsList() {
			p = map[string]any{"type": "array", "items": p}
		}
		properties[f.TextName()] = p
	}
}

func fieldSchema(all map[string]any, f protoreflect.FieldDescriptor) map[string]any {
	switch f.Kind() {
	case protoreflect.MessageKind:
		if f.Message().FullName() == "google.protobuf.Duration" {
			return map[string]any{"type": "string", "pattern": `^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$|^0$`}
		}
		addSchema(all, f.Message())
		return map[string]any{"$ref": "#/$defs/" + string(f.Message().FullName())}
	case protoreflect.BoolKind:
		return map[string]any{"type": "boolean"}
	case protoreflect.Int32Kind:
		return map[string]any{"type": "integer"}
	case protoreflect.DoubleKind:
		return map[string]any{"type": "number"}
	case protoreflect.Int64Kind:
		return map[string]any{"$ref": "#/$defs/size"}
	}
	p := map[string]any{"type": "string"}
	if words := wordsOf(f); len(words) > 0 {
		p["enum"] = words
	}
	return p
}

// wordsOf are the only texts that a field may have, if it is so.
func wordsOf(f protoreflect.FieldDescriptor) []string {
	rules, _ := proto.GetExtension(f.Options(), validate.E_Field).(*validate.FieldRules)
	if f.IsList() {
		return rules.GetRepeated().GetItems().GetString().GetIn()
	}
	return rules.GetString().GetIn()
}
