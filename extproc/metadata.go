package extproc

import (
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/portcullis-av/portcullis/scan"
	"github.com/portcullis-av/portcullis/scan/gate"
)

// MetadataNamespace is where the dynamic metadata of answers lives; Envoy takes
// it only if the filter's receiving_namespaces name it.
const MetadataNamespace = "portcullis"

// Field numbers of envoy.service.ext_proc.v3.ProcessingResponse and of
// google.protobuf.Struct, which is a map from names to values.
const (
	dynamicMetadata = 8 // ProcessingResponse.dynamic_metadata
	structField     = 1 // Struct.fields
	entryKey        = 1
	entryValue      = 2
	valueString     = 3 // Value.string_value
	valueStruct     = 5 // Value.struct_value
)

// describe adds a covered leg's decision to r for Envoy's access log:
// %DYNAMIC_METADATA(portcullis:request:outcome)%.
//
// It is added in its wire form: making the Struct and having the protobuf library
// go through its maps took a tenth of the CPU of a small exchange (profile).
func describe(r *extprocv3.ProcessingResponse, l scan.Leg, x *gate.Exchange, d gate.Decision) {
	leg := nest(l.String(), legFields(x, d))
	all := nest(MetadataNamespace, leg)
	b := protowire.AppendTag(r.ProtoReflect().GetUnknown(), dynamicMetadata, protowire.BytesType)
	r.ProtoReflect().SetUnknown(protowire.AppendBytes(b, all))
}

// legFields is what a leg's metadata say, as a Struct. Every text is valid UTF-8:
// ours, the configuration's, or made safe.
func legFields(x *gate.Exchange, d gate.Decision) []byte {
	b := make([]byte, 0, 256)
	b = appendText(b, "outcome", d.Verdict.Outcome.String())
	b = appendText(b, "cause", string(d.Verdict.Cause))
	b = appendText(b, "action", d.Action.String())
	b = appendText(b, "policy", x.Policy().Name)
	b = appendText(b, "exchange", x.ID())
	if d.Verdict.Engine != "" {
		b = appendText(b, "engine", d.Verdict.Engine)
	}
	if threats := scan.SafeThreats(d.Verdict.Threats); len(threats) > 0 {
		b = appendText(b, "threat", threats[0])
	}
	return b
}

// appendText appends one field of a Struct that is a string.
func appendText(b []byte, key, text string) []byte {
	value := 1 + protowire.SizeBytes(len(text))
	b = appendKey(b, key, value)
	b = protowire.AppendTag(b, valueString, protowire.BytesType)
	return protowire.AppendString(b, text)
}

// nest returns a Struct of one field that is itself a Struct, already written.
func nest(key string, inner []byte) []byte {
	value := 1 + protowire.SizeBytes(len(inner))
	b := appendKey(make([]byte, 0, len(inner)+64), key, value)
	b = protowire.AppendTag(b, valueStruct, protowire.BytesType)
	return protowire.AppendBytes(b, inner)
}

// appendKey appends what comes before a value of the given size.
func appendKey(b []byte, key string, value int) []byte {
	entry := 1 + protowire.SizeBytes(len(key)) + 1 + protowire.SizeBytes(value)
	b = protowire.AppendTag(b, structField, protowire.BytesType)
	b = protowire.AppendVarint(b, uint64(entry)) //nolint:gosec // a length
	b = protowire.AppendTag(b, entryKey, protowire.BytesType)
	b = protowire.AppendString(b, key)
	b = protowire.AppendTag(b, entryValue, protowire.BytesType)
	return protowire.AppendVarint(b, uint64(value)) //nolint:gosec // a length
}
