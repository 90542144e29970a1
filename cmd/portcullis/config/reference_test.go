package config_test

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	configv1 "github.com/portcullis-av/portcullis/cmd/portcullis/config/v1"
)

// REFERENCE.md says what the proto says, so that it cannot drift.
func TestReference(t *testing.T) {
	comments := protoComments(t)
	var b strings.Builder
	b.WriteString(`# Configuration reference

Made from ` + "`v1/config.proto`" + ` by ` + "`go generate`" + `; do not edit.

- One YAML document, at most 1 MiB. Unknown fields, repeated fields, empty values, anchors and tags are errors.
- A size is a whole number, with a binary unit if you like: ` + "`1048576`, `1024Ki`, `1Mi`, `2Gi`" + `.
- A duration has its unit: ` + "`500ms`, `30s`, `5m`, `1h30m`" + `.
- Relative paths count from the working directory.
- ` + "`portcullis check --config FILE`" + ` reports every mistake at once, with line and column.
`)
	seen := map[protoreflect.FullName]bool{}
	describe(t, &b, comments, (&configv1.Config{}).ProtoReflect().Descriptor(), "", seen)
	golden(t, "REFERENCE.md", b.String())
}

// describe writes the table of one section and then those of its sections.
func describe(t *testing.T, b *strings.Builder, comments map[string]string, desc protoreflect.MessageDescriptor, path string, seen map[protoreflect.FullName]bool) {
	t.Helper()
	if seen[desc.FullName()] {
		t.Fatalf("%s stands in two places", desc.FullName())
	}
	seen[desc.FullName()] = true
	title := "The file"
	if path != "" {
		title = "`" + path + "`"
	}
	fmt.Fprintf(b, "\n## %s\n\n%s\n\n| field | type | default | meaning |\n|---|---|---|---|\n", title, comment(t, comments, string(desc.Name())))
	fields := desc.Fields()
	for i := range fields.Len() {
		field := fields.Get(i)
		text := comment(t, comments, string(desc.Name())+"."+string(field.Name()))
		fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", field.Name(), typeOf(field), defaultText(field), strings.ReplaceAll(text, "|", `\|`))
	}
	for i := range fields.Len() {
		field := fields.Get(i)
		if !isSection(field) {
			continue
		}
		sub := strings.TrimPrefix(path+"."+string(field.Name()), ".")
		if field.IsList() {
			sub += "[]"
		}
		describe(t, b, comments, field.Message(), sub, seen)
	}
}

func isSection(field protoreflect.FieldDescriptor) bool {
	return field.Message() != nil && field.Message().FullName() != "google.protobuf.Duration"
}

func typeOf(field protoreflect.FieldDescriptor) string {
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	if field.IsList() {
		return "list of " + scalarType(field, rules.GetRepeated().GetItems())
	}
	return scalarType(field, rules)
}

func scalarType(field protoreflect.FieldDescriptor, rules *validate.FieldRules) string {
	switch {
	case isSection(field):
		return "section"
	case field.Message() != nil:
		return "duration" + bounds(rules.GetDuration().GetGte().AsDuration(), rules.GetDuration().GetLte().AsDuration())
	case len(rules.GetString().GetIn()) > 0:
		return "`" + strings.Join(rules.GetString().GetIn(), "`, `") + "`"
	case field.Kind() == protoreflect.Int32Kind:
		return "number" + bounds(rules.GetInt32().GetGte(), rules.GetInt32().GetLte())
	case field.Kind() == protoreflect.Int64Kind:
		return "number" + bounds(rules.GetInt64().GetGte(), rules.GetInt64().GetLte())
	case field.Kind() == protoreflect.DoubleKind:
		return "number" + bounds(rules.GetDouble().GetGte(), rules.GetDouble().GetLte())
	case field.Kind() == protoreflect.BoolKind:
		return "`true`, `false`"
	}
	return "text"
}

func bounds[T int32 | int64 | float64 | time.Duration](least, most T) string {
	return fmt.Sprintf(", %v to %v", least, most)
}

func defaultText(field protoreflect.FieldDescriptor) string {
	text, _ := proto.GetExtension(field.Options(), configv1.E_DefaultValue).(string)
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	switch {
	case text != "" && text != "{}":
		return "`" + text + "`"
	case rules.GetRequired() || len(rules.GetCel()) > 0 || rules.GetRepeated().GetMinItems() > 0:
		return "must be given"
	}
	return ""
}

func comment(t *testing.T, comments map[string]string, name string) string {
	t.Helper()
	text := comments[name]
	if text == "" {
		t.Errorf("config.proto says nothing about %s", name)
	}
	return text
}

var (
	messageLine = regexp.MustCompile(`^message (\w+) \{`)
	fieldLine   = regexp.MustCompile(`^\s+(?:optional |repeated )?[\w.]+ (\w+) = \d+`)
	commentLine = regexp.MustCompile(`^\s*// ?(.*)$`)
)

// protoComments reads the comment before each message and field. The generated
// Go code has no comments, and buf is not needed to run the tests.
func protoComments(t *testing.T) map[string]string {
	t.Helper()
	data, err := os.ReadFile("v1/config.proto")
	if err != nil {
		t.Fatal(err)
	}
	comments := map[string]string{}
	var message string
	var pending []string
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\n")
		if m := commentLine.FindStringSubmatch(line); m != nil {
			pending = append(pending, m[1])
			continue
		}
		if m := messageLine.FindStringSubmatch(line); m != nil {
			message = m[1]
			comments[message] = strings.Join(pending, " ")
		} else if m := fieldLine.FindStringSubmatch(line); m != nil {
			comments[message+"."+m[1]] = strings.Join(pending, " ")
		}
		pending = nil
	}
	return comments
}
