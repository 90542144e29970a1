package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"
)

// sources are the modules with the definitions, and the files in them. A change
// here makes the Makefile write the schemas anew.
var sources = []struct{ module, files string }{
	{"k8s.io/kubernetes@v1.36.3", "api/openapi-spec/swagger.json"},
	{"istio.io/istio@v0.0.0-20260827124520-eed52ebb66ad", "manifests/charts/base/files/crd-all.gen.yaml"},
	{"github.com/envoyproxy/gateway@v1.9.1", "charts/gateway-helm/charts/crds/crds/gatewayapi-crds.yaml"},
	{"github.com/envoyproxy/gateway@v1.9.1", "charts/gateway-helm/charts/crds/crds/generated/*.yaml"},
	{"github.com/cert-manager/cert-manager@v1.21.2", "deploy/crds/cert-manager.io_*.yaml"},
	{"github.com/prometheus-operator/prometheus-operator@v0.85.0", "example/prometheus-operator-crd/*.yaml"},
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: schemas FOLDER")
		os.Exit(2)
	}
	n, err := write(os.Args[1])
	if err != nil {
		fmt.Fprintln(os.Stderr, "schemas:", err)
		os.Exit(1)
	}
	fmt.Printf("schemas: %d written to %s\n", n, os.Args[1])
}

// write fills the folder, and returns how many schemas it has then.
func write(folder string) (int, error) {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return 0, err
	}
	total := 0
	for _, s := range sources {
		dir, err := download(s.module)
		if err != nil {
			return 0, err
		}
		files, err := filepath.Glob(filepath.Join(dir, s.files))
		if err != nil || len(files) == 0 {
			return 0, errors.Join(fmt.Errorf("%s has no %s", s.module, s.files), err)
		}
		for _, file := range files {
			n, err := convert(file, folder)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", file, err)
			}
			total += n
		}
	}
	return total, nil
}

// download fetches a module's sources into Go's own cache.
func download(module string) (dir string, err error) {
	cmd := exec.Command("go", "mod", "download", "-json", module)
	cmd.Dir = os.TempDir() // outside any module, so that none is changed
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	var m struct{ Dir, Error string }
	if jerr := json.Unmarshal(out, &m); err == nil {
		err = jerr
	}
	if err != nil || m.Dir == "" {
		return "", fmt.Errorf("go mod download %s: %s: %w", module, m.Error, err)
	}
	return m.Dir, nil
}

func convert(file, folder string) (int, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	if strings.HasSuffix(file, ".json") {
		return openAPI(text, folder)
	}
	total := 0
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var crd struct {
			Kind string
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPIV3Schema map[string]any `yaml:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := dec.Decode(&crd); errors.Is(err, io.EOF) {
			return total, nil
		} else if err != nil {
			return total, err
		}
		if crd.Kind != "CustomResourceDefinition" {
			continue
		}
		for _, v := range crd.Spec.Versions {
			schema, _ := strict(v.Schema.OpenAPIV3Schema).(map[string]any)
			if err := save(folder, schema, crd.Spec.Group, v.Name, crd.Spec.Names.Kind); err != nil {
				return total, err
			}
			total++
		}
	}
}

// save writes the schema of one kind under the name by which kubeconform asks
// for it.
func save(folder string, schema map[string]any, group, version, kind string) error {
	properties, _ := schema["properties"].(map[string]any)
	if properties == nil {
		return fmt.Errorf("%s %s: a schema without properties", group, kind)
	}
	apiVersion, suffix := version, version
	if group != "" {
		apiVersion = group + "/" + version
		first, _, _ := strings.Cut(group, ".")
		suffix = first + "-" + version
	}
	properties["apiVersion"] = map[string]any{"type": "string", "enum": []string{apiVersion}}
	properties["kind"] = map[string]any{"type": "string", "enum": []string{kind}}
	if m, _ := properties["metadata"].(map[string]any); len(m) < 2 { // absent, or any object at all
		properties["metadata"] = map[string]any{"$ref": "_definitions.json#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"}
	}
	required, _ := schema["required"].([]any)
	schema["required"] = append([]any{"apiVersion", "kind"}, required...)
	return writeJSON(filepath.Join(folder, strings.ToLower(kind+"-"+suffix)+".json"), schema)
}

func writeJSON(file string, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return os.WriteFile(file, text, 0o644)
}
