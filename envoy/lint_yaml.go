package envoy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

func documentsOf(config []byte) ([]map[string]any, error) {
	d := yaml.NewDecoder(bytes.NewReader(config))
	var trees []map[string]any
	for {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return trees, nil
		}
		var tree map[string]any
		if err == nil && doc.Kind == yaml.DocumentNode && doc.Content[0].Kind == yaml.SequenceNode {
			err = errors.New("it is a list")
		}
		if err == nil {
			plainYAML(&doc)
			err = doc.Decode(&tree)
		}
		if err != nil {
			return nil, fmt.Errorf("document %d is no YAML or JSON mapping: %w", len(trees)+1, err)
		}
		trees = append(trees, unlisted(tree)...)
	}
}

// plainYAML reads as Envoy and kubectl do where they differ from our decoder: yes
// and on are true, and a key is a text whatever it looks like.
func plainYAML(n *yaml.Node) {
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 {
			if c.Kind == yaml.ScalarNode && c.Tag != "!!merge" {
				c.Tag = "!!str"
			}
			continue
		}
		plainYAML(c)
	}
	if n.Kind != yaml.ScalarNode || n.Tag != "!!str" || n.Style != 0 {
		return
	}
	word := n.Value
	if lower := strings.ToLower(word); word != lower && word != strings.ToUpper(word) && word != strings.ToUpper(word[:1])+lower[1:] {
		return
	}
	switch strings.ToLower(word) {
	case "y", "yes", "on":
		n.Tag, n.Value = "!!bool", "true"
	case "n", "no", "off":
		n.Tag, n.Value = "!!bool", "false"
	}
}

// unlisted takes apart what "kubectl get -o yaml" prints for several objects.
func unlisted(tree map[string]any) []map[string]any {
	items, ok := tree["items"].([]any)
	if kind, _ := tree["kind"].(string); !ok || !strings.HasSuffix(kind, "List") {
		return []map[string]any{tree}
	}
	var trees []map[string]any
	for _, item := range items {
		if t, ok := item.(map[string]any); ok {
			trees = append(trees, t)
		}
	}
	return trees
}

const (
	aBootstrap = "bootstrap"
	aDump      = "config dump"
	aResources = "resources"
	// aCompanion says something only beside another document.
	aCompanion = "companion"
)

// kindOf is what a document is, or nothing for one that is passed over.
func kindOf(tree map[string]any) string {
	kind, _ := tree["kind"].(string)
	resources := listOf(tree["resources"])
	switch {
	case kind == "EnvoyFilter", kind == extensionPolicy:
		return kind
	case slices.Contains([]string{clientPolicy, backendPolicy, patchPolicy, httpRoute, "GRPCRoute", "ReferenceGrant"}, kind):
		return aCompanion
	case kind == "" && (tree["static_resources"] != nil || tree["staticResources"] != nil):
		return aBootstrap
	case kind == "" && len(dumpsIn("", tree, "", 2)) > 0:
		return aDump
	case kind == "" && len(resources) > 0 && messageType(fmt.Sprint(at1(resources[0], "@type"))) != nil:
		return aResources
	}
	return ""
}

// titleOf names a document among others.
func titleOf(tree map[string]any, i int) string {
	kind, _ := tree["kind"].(string)
	name, _ := at1(tree, "metadata", "name").(string)
	namespace, _ := at1(tree, "metadata", "namespace").(string)
	if kind == "" || name == "" {
		return fmt.Sprintf("document[%d]", i)
	}
	return kind + " " + strings.TrimPrefix(namespace+"/"+name, "/")
}
