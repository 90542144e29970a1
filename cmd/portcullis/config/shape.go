package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// shape walks the YAML tree along the proto. It reports all that does not fit,
// in the reader's words and stricter than the decoder, which would take a
// repeated key, a null or a field's number; and it notes where each value stands.
type shape struct{ *report }

func (s shape) message(node *yaml.Node, desc protoreflect.MessageDescriptor, path string) {
	if !s.kind(node, path, yaml.MappingNode, "a section of fields, such as "+exampleOf(desc)) {
		return
	}
	lines := map[string]int{}
	oneofs := map[protoreflect.Name]string{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		if s.hopeless = s.hopeless || len(s.problems) > maxProblems; s.hopeless {
			return
		}
		key, value := node.Content[i], node.Content[i+1]
		if key.Kind != yaml.ScalarNode || key.ShortTag() == "!!merge" {
			s.note(placeOf(key), path, "a key must be the plain name of a field")
			continue
		}
		name := join(path, key.Value)
		field := desc.Fields().ByTextName(key.Value)
		if field == nil {
			s.note(placeOf(key), join(path, keyName(key.Value)), "there is no such field%s", suggest(key.Value, fieldNames(desc)))
			continue
		}
		if first, ok := lines[key.Value]; ok {
			s.note(placeOf(key), name, "is given twice; the first is on line %d", first)
			continue
		}
		lines[key.Value] = key.Line
		s.places[name] = placeOf(value)
		if oneof := field.ContainingOneof(); oneof != nil && !oneof.IsSynthetic() {
			if other, ok := oneofs[oneof.Name()]; ok {
				s.note(placeOf(key), name, "cannot stand beside %s; keep one of them", other)
			}
			oneofs[oneof.Name()] = key.Value
		}
		s.field(value, field, name)
	}
}

func (s shape) field(node *yaml.Node, field protoreflect.FieldDescriptor, path string) {
	if !field.IsList() {
		s.single(node, field, path)
		return
	}
	if !s.kind(node, path, yaml.SequenceNode, "a list, such as [a, b]") {
		return
	}
	if len(node.Content) > maxEntries {
		s.note(placeOf(node), path, "has more than %d entries", maxEntries)
		s.hopeless = true
		return
	}
	for i, item := range node.Content {
		name := fmt.Sprintf("%s[%d]", path, i)
		s.places[name] = placeOf(item)
		s.single(item, field, name)
	}
}

func (s shape) single(node *yaml.Node, field protoreflect.FieldDescriptor, path string) {
	if m := field.Message(); m != nil && m.FullName() != durationName {
		s.message(node, m, path)
		return
	}
	want := wanted(field)
	if !s.kind(node, path, yaml.ScalarNode, want) {
		return
	}
	if !fits(node, field) {
		s.note(placeOf(node), path, "must be %s, not %s", want, shown(node.Value))
	}
}

// kind reports a node that cannot be the value of any field, or not of this one.
func (s shape) kind(node *yaml.Node, path string, kind yaml.Kind, want string) bool {
	at := placeOf(node)
	switch {
	case node.Kind == yaml.AliasNode || node.Anchor != "":
		s.note(at, path, "YAML anchors and aliases (& and *) are not supported; write the value out")
	case node.Style&yaml.TaggedStyle != 0:
		s.note(at, path, "YAML tags (!) are not supported; write the value alone")
	case node.ShortTag() == "!!null":
		s.note(at, path, "has no value; it must be %s, or left out", want)
	case node.Kind != kind:
		s.note(at, path, "must be %s", want)
	default:
		return true
	}
	s.broken[path] = true
	return false
}

// maxEntries is more than any list of the file may have; the proto's rules say
// the exact number.
const maxEntries = 2048

// exampleOf shows the first field of a section.
func exampleOf(desc protoreflect.MessageDescriptor) string {
	return "{" + string(desc.Fields().Get(0).Name()) + ": …} or {}"
}

func fieldNames(desc protoreflect.MessageDescriptor) []string {
	names := make([]string, 0, desc.Fields().Len())
	for i := range desc.Fields().Len() {
		names = append(names, desc.Fields().Get(i).TextName())
	}
	return names
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// keyName is an unknown key as it may stand in a path.
func keyName(key string) string {
	if len(key) > 60 || strings.ContainsFunc(key, func(r rune) bool { return !strings.ContainsRune(keyLetters, r) }) {
		return shown(key)
	}
	return key
}

const keyLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"

// shown quotes what the file says so that it is safe and short in a message.
func shown(value string) string {
	const most = 60
	value = maskUserinfo(value)
	if runes := []rune(value); len(runes) > most {
		value = string(runes[:most]) + "…"
	}
	return fmt.Sprintf("%q", value)
}

// suggest returns "; did you mean …?" when one name is near, else the names.
func suggest(got string, names []string) string {
	if len(names) == 0 {
		return ""
	}
	names = names[:min(len(names), 64)] // comparing more would take long
	best, distance := "", 3
	for _, name := range names {
		if d := editDistance(plain(got), plain(name)); d < distance && d < len(name) {
			best, distance = name, d
		}
	}
	if best != "" {
		return fmt.Sprintf("; did you mean %q?", best)
	}
	list := make([]string, 0, len(names))
	for _, name := range names[:min(len(names), 16)] {
		list = append(list, keyName(name))
	}
	if len(names) > len(list) {
		list = append(list, "…")
	}
	return "; there are: " + strings.Join(list, ", ")
}

func plain(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "").Replace(name))
}

// editDistance is Levenshtein's, over bytes, given up at lengths no name has.
func editDistance(a, b string) int {
	if len(a) > 64 || len(b) > 64 {
		return len(a) + len(b)
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
