package config

import (
	"strconv"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Redacted returns the configuration in use as YAML, defaults included, for
// people and for /configz. What stands before an @ in a URL is masked; other
// secrets are in files, of which it shows the paths. Where nothing was masked it
// gives the same configuration when parsed again.
func (c *Config) Redacted() ([]byte, error) {
	return yaml.Marshal(section(c.message.ProtoReflect()))
}

// section renders the fields that are set, in the proto's order.
func section(m protoreflect.Message) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode}
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		if !m.Has(field) {
			continue
		}
		node.Content = append(node.Content, text(field.TextName()), value(m.Get(field), field))
	}
	return node
}

func value(v protoreflect.Value, field protoreflect.FieldDescriptor) *yaml.Node {
	if !field.IsList() {
		return single(v, field)
	}
	node := &yaml.Node{Kind: yaml.SequenceNode}
	for i := range v.List().Len() {
		node.Content = append(node.Content, single(v.List().Get(i), field))
	}
	return node
}

func single(v protoreflect.Value, field protoreflect.FieldDescriptor) *yaml.Node {
	switch field.Kind() {
	case protoreflect.MessageKind:
		if d, ok := v.Message().Interface().(*durationpb.Duration); ok {
			return text(d.AsDuration().String())
		}
		return section(v.Message())
	case protoreflect.BoolKind:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}
	case protoreflect.Int32Kind, protoreflect.Int64Kind:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: strconv.FormatInt(v.Int(), 10)}
	case protoreflect.DoubleKind:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: strconv.FormatFloat(v.Float(), 'f', -1, 64)}
	default:
		return text(maskUserinfo(v.String()))
	}
}

func text(s string) *yaml.Node {
	node := &yaml.Node{}
	node.SetString(s)
	return node
}
