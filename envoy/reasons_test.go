package envoy

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"go.yaml.in/yaml/v3"
)

// structural are keys that say what is where; they have no reason.
var structural = map[string]bool{
	"@type": true, "name": true, "stat_prefix": true, "address": true, "port_value": true, "path": true, "type": true,
	"cluster_name": true, "cluster": true, "domains": true, "prefix": true,
	"apiVersion": true, "kind": true, "metadata": true,
}

// Every setting has its reason beside it, or beside the block it stands in.
func TestEverySettingHasAReason(t *testing.T) {
	for name, o := range staticCases() {
		var doc yaml.Node
		if err := yaml.Unmarshal(mustYAML(t, StaticYAML, o), &doc); err != nil {
			t.Fatal(err)
		}
		unexplained(doc.Content[0], "", func(path string) { t.Errorf("%s: %s has no reason", name, path) })
	}
	for name, o := range istioCases() {
		var doc yaml.Node
		if err := yaml.Unmarshal(mustYAML(t, IstioYAML, o), &doc); err != nil {
			t.Fatal(err)
		}
		for _, p := range child(child(doc.Content[0], "spec"), "configPatches").Content {
			if p.HeadComment == "" {
				t.Errorf("%s: a patch of %s says nothing", name, child(p, "applyTo").Value)
			}
			unexplained(child(child(p, "patch"), "value"), "", func(path string) { t.Errorf("%s: %s has no reason", name, path) })
		}
	}
	for name, o := range forwardCases() {
		unexplained(documents(t, mustYAML(t, ForwardProxyYAML, o))[0].Content[0], "", func(path string) { t.Errorf("%s: %s has no reason", name, path) })
	}
	for name, o := range gatewayCases() {
		for _, doc := range documents(t, mustYAML(t, GatewayYAML, o)) {
			unexplained(doc.Content[0], "", func(path string) { t.Errorf("%s: %s has no reason", name, path) })
		}
	}
}

// documents are the YAML documents of a text, comments included.
func documents(t *testing.T, text []byte) []yaml.Node {
	t.Helper()
	var all []yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var doc yaml.Node
		err := d.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, doc)
	}
}

func unexplained(n *yaml.Node, path string, report func(path string)) {
	children(n, path, func(path string, key, value *yaml.Node) {
		switch {
		case key != nil && (key.HeadComment != "" || structural[key.Value]):
		case value.Kind == yaml.ScalarNode:
			report(path)
		default:
			unexplained(value, path, report)
		}
	})
}

// A reason for a setting that is no longer made would mislead the next reader
// of the table.
func TestEveryReasonHasASetting(t *testing.T) {
	used := map[string]bool{}
	all := map[string]bool{}
	collect := func(n *yaml.Node, at string, reasons []reason) {
		for _, r := range reasons {
			all[r.path] = true
		}
		walk(n, at, func(path string, _ *yaml.Node) {
			if r := reasonFor(reasons, path); r != nil {
				used[r.path] = true
			}
		})
	}
	for _, o := range staticCases() {
		var doc yaml.Node
		if err := yaml.Unmarshal(mustYAML(t, StaticYAML, o), &doc); err != nil {
			t.Fatal(err)
		}
		collect(doc.Content[0], "", o.withDefaults().reasons())
	}
	for _, o := range istioCases() {
		o = o.withDefaults()
		patches, err := o.patches()
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range patches {
			for _, r := range p.why {
				if r.shown != "" {
					show(p.Patch.Value, p.at, r)
				}
			}
			collect(p.Patch.Value, p.at, p.why)
		}
	}
	for _, o := range forwardCases() {
		collect(documents(t, mustYAML(t, ForwardProxyYAML, o))[0].Content[0], "", o.reasons())
	}
	for _, o := range gatewayCases() {
		o = o.withDefaults()
		for _, doc := range documents(t, mustYAML(t, GatewayYAML, o)) {
			collect(doc.Content[0], child(doc.Content[0], "kind").Value, o.reasons())
		}
	}
	for path := range all {
		if !used[path] {
			t.Errorf("no configuration has %s", path)
		}
	}
}
