package envoy

import (
	"fmt"

	udpav1 "github.com/cncf/xds/go/udpa/type/v1"
	xdsv3 "github.com/cncf/xds/go/xds/type/v3"
	// Filters that hold another one: the gate may stand inside of them.
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/common/matching/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/common/matcher/action/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	_ "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
)

// openInto reads a packed message, also one that is written as a TypedStruct, and
// says where its fields stand. It is false if the message is another one.
func openInto[M proto.Message](path string, a *anypb.Any, into M) (string, bool) {
	if a.UnmarshalTo(into) == nil {
		return path, true
	}
	path, m := open(path, a)
	if m == nil || m.ProtoReflect().Descriptor() != into.ProtoReflect().Descriptor() {
		return path, false
	}
	proto.Merge(into, m)
	return path, true
}

// open is openInto for a message of any type; nil if the type is not known.
func open(path string, a *anypb.Any) (string, proto.Message) {
	m, err := a.UnmarshalNew()
	if err != nil {
		return path, nil
	}
	var url string
	var value *structpb.Struct
	switch s := m.(type) {
	case *xdsv3.TypedStruct:
		url, value = s.GetTypeUrl(), s.GetValue()
	case *udpav1.TypedStruct:
		url, value = s.GetTypeUrl(), s.GetValue()
	default:
		return path, m
	}
	path += ".value"
	t, err := protoregistry.GlobalTypes.FindMessageByURL(url)
	if err != nil {
		return path, nil
	}
	j, err := protojson.Marshal(value)
	if err != nil {
		return path, nil
	}
	inner := t.New().Interface()
	if (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(j, inner) != nil {
		return path, nil
	}
	return path, inner
}

// within calls visit for m and every message inside of it, packed ones too, but not
// for what is inside of those for which visit is false.
func within(path string, m proto.Message, visit func(path string, m proto.Message) bool) {
	if a, ok := m.(*anypb.Any); ok {
		if path, m = open(path, a); m == nil {
			return
		}
	}
	if !visit(path, m) {
		return
	}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		at := dot(path, f.TextName())
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				within(fmt.Sprintf("%s[%q]", at, k.String()), v.Message().Interface(), visit)
				return true
			})
		case f.IsMap() || f.Message() == nil:
		case f.IsList():
			for i := range v.List().Len() {
				within(fmt.Sprintf("%s[%d]", at, i), v.List().Get(i).Message().Interface(), visit)
			}
		default:
			within(at, v.Message().Interface(), visit)
		}
		return true
	})
}
