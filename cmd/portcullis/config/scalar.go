package config

import (
	"math"
	"regexp"
	"strconv"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

const durationName protoreflect.FullName = "google.protobuf.Duration"

// wanted says in words what may stand in the field.
func wanted(field protoreflect.FieldDescriptor) string {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return "true or false"
	case protoreflect.Int32Kind:
		return "a whole number"
	case protoreflect.Int64Kind:
		return "a whole number, such as 1048576 or 1Mi"
	case protoreflect.DoubleKind:
		return "a number, such as 1 or 0.25"
	case protoreflect.MessageKind:
		return "a duration with its unit, such as 500ms, 30s, 5m or 1h30m"
	default:
		return "a text"
	}
}

// fits tells whether the scalar is one that the decoder reads the way a person
// does: no yes/no, no octal, no exponents, no overflow.
func fits(node *yaml.Node, field protoreflect.FieldDescriptor) bool {
	switch field.Kind() {
	case protoreflect.BoolKind:
		return node.ShortTag() == "!!bool" && (node.Value == "true" || node.Value == "false")
	case protoreflect.Int32Kind:
		n, ok := parseInteger(node.Value)
		return ok && n >= math.MinInt32 && n <= math.MaxInt32
	case protoreflect.Int64Kind:
		_, ok := parseInteger(node.Value)
		return ok
	case protoreflect.DoubleKind:
		return decimal.MatchString(node.Value)
	case protoreflect.MessageKind:
		_, err := time.ParseDuration(node.Value)
		return err == nil
	default:
		return true
	}
}

var decimal = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,8})([.][0-9]{1,9})?$`)

var integer = regexp.MustCompile(`^(0|-?[1-9][0-9]{0,18})(Ki|Mi|Gi|Ti)?$`)

// parseInteger reads digits with an optional binary unit.
func parseInteger(s string) (int64, bool) {
	m := integer.FindStringSubmatch(s)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		return 0, false
	}
	unit := map[string]int64{"": 1, "Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}[m[2]]
	if n > math.MaxInt64/unit || n < math.MinInt64/unit {
		return 0, false
	}
	return n * unit, true
}
