package chart_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const schemaFile = chartDir + "/values.schema.json"

func readSchema(t *testing.T) map[string]any {
	t.Helper()
	text, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	return schema
}

// What values.yaml may say about Portcullis' own configuration is what its
// proto says.
func TestSchemaOfTheConfigurationIsTheProtos(t *testing.T) {
	t.Parallel()
	schema := readSchema(t)
	schema["$defs"] = configSchemas()
	text, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, schemaFile, string(text)+"\n")
}

// Every section of the values refuses what it does not know, and every value
// that it knows stands in values.yaml, where its comment is.
func TestSchemaIsStrictAndComplete(t *testing.T) {
	t.Parallel()
	var values map[string]any
	readYAML(t, filepath.Join(chartDir, "values.yaml"), &values)
	schema := readSchema(t)
	open := map[string]bool{}
	compareKeys(t, "", schema, schema, values, open)
	// Pieces of Kubernetes and of Helm, whose own schemas judge them, and maps.
	want := []string{
		"affinity", "commonLabels", "dashboard.labels", "engines.clamd.freshclam.resources.limits", "engines.clamd.freshclam.resources.requests",
		"engines.clamd.resources.limits", "engines.clamd.resources.requests", "nodeSelector", "podAnnotations", "podLabels", "podSecurityContext",
		"prometheusRule.alertLabels", "prometheusRule.labels", "service.annotations", "serviceAccount.annotations", "serviceMonitor.labels", "tests.podAnnotations",
	}
	if got := slices.Sorted(maps.Keys(open)); !slices.Equal(got, want) {
		t.Errorf("these take any key:\n%q\nwant\n%q", got, want)
	}
}

func compareKeys(t *testing.T, path string, whole, schema, values map[string]any, open map[string]bool) {
	t.Helper()
	if ref, ok := schema["$ref"].(string); ok {
		schema, _ = at(whole, "$defs", strings.TrimPrefix(ref, "#/$defs/")).(map[string]any)
	}
	if schema["additionalProperties"] != false {
		open[path] = true
		return
	}
	properties, _ := schema["properties"].(map[string]any)
	for name := range values {
		if properties[name] == nil {
			t.Errorf("%s.%s is in values.yaml and not in the schema", path, name)
		}
	}
	for name, p := range properties {
		child := strings.TrimPrefix(path+"."+name, ".")
		value, there := values[name]
		ours := !strings.HasPrefix(child, "config.") && !strings.Contains(child, "settings.") && !strings.Contains(child, "resources.") && !strings.Contains(child, "issuerRef.")
		if !there && ours && child != "global" {
			t.Errorf("%s is in the schema and not in values.yaml", child)
		}
		if section, ok := value.(map[string]any); ok {
			compareKeys(t, child, whole, p.(map[string]any), section, open)
		}
	}
}

// Typing errors and values that cannot be meant end the installation, with the
// name of the value.
func TestValuesAreRefused(t *testing.T) {
	t.Parallel()
	for name, values := range map[string]string{
		"replica":           `{replica: 3}`,
		"profil":            `{profil: duplex}`,
		"/profile":          `{profile: STREAMED}`,
		"topology":          `{topology: ambient}`,
		"max_bodybytes":     `{config: {policies: [{name: default, engines: [builtin], max_bodybytes: 1Mi}]}}`,
		"policies/0/fail":   `{config: {policies: [{name: default, engines: [builtin], fail: maybe}]}}`,
		"listen":            `{config: {listen: {extproc: ":1"}}}`,
		"disk_bytes":        `{config: {spool: {disk_bytes: 10G}}}`,
		"scan_timeout":      `{config: {policies: [{name: default, engines: [builtin], scan_timeout: 30}]}}`,
		"max_inflight":      `{engines: {clamd: {settings: {max_inflight: 3}}}}`,
		"allow_macro":       `{engines: {cloudmersive: {settings: {advanced: {allow_macro: true}}}}}`,
		"selctor":           `{mesh: istio, istio: {workloads: [{name: shop, namespace: shop, selctor: {app: shop}}]}}`,
		"every pod of shop": `{mesh: istio, istio: {workloads: [{name: shop, namespace: shop}]}}`,
		"skip and only":     `{mesh: istio, istio: {workloads: [{name: a, namespace: b, selector: {c: d}, skip: [{virtualHost: e, route: f}], only: [{virtualHost: e, route: g}]}]}}`,
		"gateway: true":     `{mesh: istio, istio: {workloads: [{name: shop, namespace: shop, targetGateway: public}]}}`,
		"a listener and a":  `{mesh: envoyGateway, envoyGateway: {targets: [{name: a, gateway: b, listener: c, route: d}]}}`,
		"digest":            `{image: {digest: "sha256:1"}}`,
		"is empty":          `{mesh: istio}`,
		"none is enabled":   `{engines: {builtin: {enabled: false}}}`,
		"existingSecret":    `{engines: {cloudmersive: {enabled: true}}}`,
		"settings.url":      `{engines: {icap: {enabled: true}}}`,
		"upstream":          `{topology: standalone}`,
		"central":           `{topology: standalone, standalone: {upstream: "a:1"}, mesh: istio}`,
		"adaptive":          `{mesh: envoyGateway, profile: adaptive, envoyGateway: {targets: [{name: a, gateway: b}]}}`,
		"encrypts":          `{mesh: istio, istio: {workloads: [{name: a, namespace: b, selector: {c: d}}]}, tls: {mode: existingSecret, secretName: x}}`,
		"secretName":        `{tls: {mode: existingSecret}}`,
		"tests.tlsSecret":   `{tls: {mode: existingSecret, secretName: x, verifyClients: true, clientSpiffeIDs: ["spiffe://a/b"]}}`,
		"issuerRef":         `{tls: {mode: certManager}}`,
		"verifyClients":     `{tls: {mode: existingSecret, secretName: x, clientSpiffeIDs: ["spiffe://a/b"]}}`,
		"not longer":        `{terminationGracePeriodSeconds: 30}`,
		"from: is empty":    `{networkPolicy: {enabled: true}}`,
		"1000000000":        `{engines: {clamd: {enabled: true}}, config: {policies: [{name: default, engines: [clamav], max_body_bytes: 1Gi}]}}`,
		"256Mi":             `{profile: buffered, bufferedMaxBodyBytes: 257Mi}`,
		"give both":         `{engines: {builtin: {hashLists: {configMap: x}}}}`,
		"external":          `{engines: {clamd: {enabled: true, addresses: ["a:1"]}}}`,
		"your daemons":      `{engines: {clamd: {enabled: true, deployment: external}}}`,
		"leave tls.mode at": `{topology: sidecar, tls: {mode: existingSecret, secretName: x}}`,
		"an engine clamd":   `{engines: {clamd: {enabled: true}}, config: {policies: [{name: default, engines: [clamd]}]}}`,
		"config.rules":      `{config: {policies: [{name: default, engines: [builtin]}], rules: [{when: "true", policy: uploads}]}}`,
		"workloads: shop":   `{mesh: istio, istio: {workloads: [{name: shop, namespace: shop, selector: {a: b}, policy: uploads}]}}`,
		"standalone: names": `{topology: standalone, standalone: {upstream: "a:1", policy: uploads}}`,
		"/upstream":         `{topology: standalone, standalone: {upstream: "http://a:1"}}`,
		"/tunnels":          `{topology: standalone, standalone: {mode: forward, tunnels: ["*:443"]}}`,
		"maxHeapBytes":      `{topology: standalone, standalone: {upstream: "a:1", maxHeapBytes: 1Mi}}`,
		"policies is empt":  `{mesh: envoyGateway, policies: []}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "values.yaml")
			write(t, file, values)
			_, err := template(t, "--values", file)
			if err == nil {
				t.Fatalf("accepted: %s", values)
			}
			word, _, _ := strings.Cut(name, " is empt")
			if !strings.Contains(err.Error(), word) {
				t.Errorf("does not name %s: %v", word, err)
			}
		})
	}
}

// The defaults are those of the README's first command, so they must stay valid
// by themselves.
func TestValuesFileIsItsOwnExample(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var tree yaml.Node
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	if _, err := template(t, "--values", filepath.Join(chartDir, "values.yaml")); err != nil {
		t.Error(err)
	}
}
