package main

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"strings"
)

const definitionsFile = "_definitions.json"

// openAPI writes Kubernetes' own definitions into one file, and for each of its
// kinds a schema that refers to them.
func openAPI(text []byte, folder string) (int, error) {
	var swagger struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(text, &swagger); err != nil {
		return 0, err
	}
	definitions := map[string]any{}
	for name, d := range swagger.Definitions {
		definitions[name] = strict(d)
	}
	for _, name := range []string{"io.k8s.apimachinery.pkg.api.resource.Quantity", "io.k8s.apimachinery.pkg.util.intstr.IntOrString"} {
		definitions[name] = map[string]any{"type": []string{"string", "number"}}
	}
	total := 0
	for name, d := range swagger.Definitions {
		of, _ := d["x-kubernetes-group-version-kind"].([]any)
		properties, _ := d["properties"].(map[string]any)
		if len(of) != 1 || properties["kind"] == nil {
			continue
		}
		gvk, _ := of[0].(map[string]any)
		group, _ := gvk["group"].(string)
		version, _ := gvk["version"].(string)
		kind, _ := gvk["kind"].(string)
		schema, _ := definitions[name].(map[string]any)
		schema = outward(schema).(map[string]any)
		schema["properties"] = maps.Clone(schema["properties"].(map[string]any))
		if err := save(folder, schema, group, version, kind); err != nil {
			return total, err
		}
		total++
	}
	return total, writeJSON(filepath.Join(folder, definitionsFile), map[string]any{"definitions": definitions})
}

// outward copies a definition so that its references lead out of the file in
// which the copy stands.
func outward(v any) any {
	switch v := v.(type) {
	case map[string]any:
		out := map[string]any{}
		for k, e := range v {
			if ref, ok := e.(string); ok && k == "$ref" && strings.HasPrefix(ref, "#") {
				e = definitionsFile + ref
			}
			out[k] = outward(e)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = outward(e)
		}
		return out
	}
	return v
}

// strict copies a schema so that it refuses unknown fields wherever it knows
// the others, as the API server does when it is asked for strict validation.
func strict(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if v["x-kubernetes-int-or-string"] == true {
			return map[string]any{"type": []string{"string", "number"}}
		}
		out := map[string]any{}
		for k, e := range v {
			if k == "properties" {
				out[k] = each(e)
				continue
			}
			out[k] = strict(e)
		}
		if out["properties"] != nil && out["additionalProperties"] == nil && v["x-kubernetes-preserve-unknown-fields"] != true {
			out["additionalProperties"] = false
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, e := range v {
			out[i] = strict(e)
		}
		return out
	}
	return v
}

// each is strict for every property, whatever their names mean in a schema.
func each(v any) any {
	properties, _ := v.(map[string]any)
	out := map[string]any{}
	for name, schema := range properties {
		out[name] = strict(schema)
	}
	return out
}
