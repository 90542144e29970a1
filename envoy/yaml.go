package envoy

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// reason says why a setting is there. Path is the end of the setting's path:
// keys joined by '/', where a list's elements go by their name and nameless
// ones by nothing at all.
type reason struct {
	path, text string
	// shown is set for a setting that is Envoy's default and yet so important
	// that it is written down with this value, with or without a text.
	shown string
}

// yamlOf turns a message into YAML with Envoy's field names, in the order of
// the fields in Envoy's own definition.
func yamlOf(m proto.Message) (*yaml.Node, error) {
	j, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return nil, err
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(j, &doc); err != nil { // JSON is YAML, and a node keeps the order
		return nil, err
	}
	plain(doc.Content[0])
	return doc.Content[0], nil
}

// plain removes JSON's brackets and quotes where YAML needs none.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		plain(c)
	}
}

// annotate writes every reason above the settings it is for; at is the path of root.
func annotate(root *yaml.Node, at string, reasons []reason) {
	for _, r := range reasons {
		if r.shown != "" {
			show(root, at, r)
		}
	}
	walk(root, at, func(path string, key *yaml.Node) {
		if r := reasonFor(reasons, path); r != nil && r.text != "" {
			key.HeadComment = wrap(r.text)
		}
	})
}

// show adds r's setting to every mapping that its path leads to.
func show(n *yaml.Node, path string, r reason) {
	parent, key, _ := cutLast(r.path)
	if n.Kind == yaml.MappingNode && endsIn(path, parent) && child(n, key) == nil {
		value := &yaml.Node{Kind: yaml.ScalarNode, Value: r.shown}
		n.Content = append(n.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: key}, value)
	}
	children(n, path, func(path string, _, value *yaml.Node) { show(value, path, r) })
}

// reasonFor returns the reason whose path is the longest end of path, or nil.
func reasonFor(reasons []reason, path string) *reason {
	var best *reason
	for i := range reasons {
		r := &reasons[i]
		if endsIn(path, r.path) && (best == nil || len(r.path) > len(best.path)) {
			best = r
		}
	}
	return best
}

func endsIn(path, end string) bool { return path == end || strings.HasSuffix(path, "/"+end) }

func cutLast(path string) (parent, key string, found bool) {
	at := strings.LastIndexByte(path, '/')
	if at < 0 {
		return "", path, false
	}
	return path[:at], path[at+1:], true
}

// walk calls f for every key of every mapping.
func walk(n *yaml.Node, path string, f func(path string, key *yaml.Node)) {
	children(n, path, func(path string, key, value *yaml.Node) {
		if key != nil {
			f(path, key)
		}
		walk(value, path, f)
	})
}

// children calls f for the entries of a mapping (with their key) or of a list.
func children(n *yaml.Node, path string, f func(path string, key, value *yaml.Node)) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			f(join(path, n.Content[i].Value), n.Content[i], n.Content[i+1])
		}
	case yaml.SequenceNode:
		for _, c := range n.Content {
			f(join(path, nameOf(c)), nil, c)
		}
	case yaml.DocumentNode, yaml.ScalarNode, yaml.AliasNode:
	}
}

func join(path, step string) string {
	if step == "" || path == "" {
		return path + step
	}
	return path + "/" + step
}

// nameOf is the value of a mapping's key "name", or nothing.
func nameOf(n *yaml.Node) string {
	if n.Kind != yaml.MappingNode {
		return ""
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == "name" && n.Content[i+1].Kind == yaml.ScalarNode {
			return n.Content[i+1].Value
		}
	}
	return ""
}

// child is the value of a mapping's key, or nil.
func child(n *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

// commentWidth is where comments break, indentation not counted.
const commentWidth = 92

// wrap breaks text into comment lines; the items of a list ("- ") hang.
func wrap(text string) string {
	var lines []string
	for paragraph := range strings.Lines(text) {
		hang := ""
		if strings.HasPrefix(paragraph, "- ") {
			hang = "  "
		}
		line := "#"
		for _, word := range strings.Fields(paragraph) {
			if len(line) > 1 && len(line)+1+len(word) > commentWidth {
				lines = append(lines, line)
				line = "#" + hang
			}
			line += " " + word
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

// printYAML writes documents after a preamble of comment lines.
func printYAML(preamble string, docs ...*yaml.Node) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n\n", wrap(preamble))
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	for _, d := range docs {
		if err := e.Encode(d); err != nil {
			return nil, err
		}
	}
	if err := e.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
