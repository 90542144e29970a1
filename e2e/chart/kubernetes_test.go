package chart_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// schemas returns the folder of "make chart-tools".
func schemas(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "portcullis", "schemas")
	if _, err := os.Stat(filepath.Join(dir, "_definitions.json")); err != nil {
		missing(t, "there are no Kubernetes schemas; make chart-tools writes them")
	}
	return dir
}

// kubeconform returns what is wrong with each file, by the file's name. It reads
// the schemas, which takes long, once for all.
func kubeconform(t *testing.T, files ...string) map[string]string {
	t.Helper()
	args := []string{"-strict", "-output", "json", "-schema-location", schemas(t) + "/{{.ResourceKind}}{{.KindSuffix}}.json"}
	out, err := run(t, tool(t, "kubeconform"), append(args, files...)...)
	var report struct {
		Resources []struct{ Filename, Kind, Name, Status, Msg string }
	}
	if jerr := json.Unmarshal([]byte(out), &report); jerr != nil {
		t.Fatalf("%v: %v", jerr, err)
	}
	if err != nil && len(report.Resources) == 0 {
		t.Fatal(err)
	}
	wrong := map[string]string{}
	for _, r := range report.Resources {
		wrong[r.Filename] += fmt.Sprintf("%s %s: %s\n", r.Kind, r.Name, r.Msg)
	}
	return wrong
}

// Everything that the chart renders is what the API servers of Kubernetes and
// of every integration take, by their own schemas.
func TestObjectsConform(t *testing.T) {
	t.Parallel()
	kinds := map[string]bool{}
	var files []string
	for _, set := range valueSets(t) {
		rendered, err := templateOf(t, set)
		if err != nil {
			t.Fatal(err)
		}
		file := filepath.Join(t.TempDir(), set+".yaml")
		write(t, file, rendered)
		files = append(files, file)
		for _, o := range objects(t, rendered) {
			kinds[o.kind()] = true
			if text(o, "metadata", "namespace") == "" {
				t.Errorf("%s: %s %s has no namespace", set, o.kind(), o.name())
			}
		}
	}
	for file, why := range kubeconform(t, files...) {
		t.Errorf("%s: %s", filepath.Base(file), why)
	}
	for _, kind := range []string{
		"BackendTrafficPolicy", "Certificate", "ClientTrafficPolicy", "ConfigMap", "Deployment", "EnvoyExtensionPolicy", "EnvoyFilter",
		"HorizontalPodAutoscaler", "NetworkPolicy", "Pod", "PodDisruptionBudget", "PrometheusRule", "ReferenceGrant", "Service",
		"ServiceAccount", "ServiceMonitor", "StatefulSet",
	} {
		if !kinds[kind] {
			t.Errorf("no set of values renders a %s", kind)
		}
	}
}

// The schemas refuse what they should: a misspelt field deep in an object of
// each API that the chart uses.
func TestSchemasRefuse(t *testing.T) {
	t.Parallel()
	var files []string
	for set, change := range map[string][2]string{
		"central":          {"terminationGracePeriodSeconds:", "terminationGracePeriodSecond:"},
		"istio":            {"configPatches:", "configPatchez:"},
		"envoy-gateway":    {"body: FullDuplexStreamed", "body: FullDuplex"},
		"cloudmersive-tls": {"issuerRef:", "issuer:"},
		"clamd-sidecar":    {"expr:", "expression:"},
		"clamd-service":    {"policyTypes:", "policyType:"},
	} {
		rendered, err := templateOf(t, set)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(rendered, change[0]) {
			t.Errorf("%s has no %q", set, change[0])
		}
		file := filepath.Join(t.TempDir(), set+".yaml")
		write(t, file, strings.ReplaceAll(rendered, change[0], change[1]))
		files = append(files, file)
	}
	wrong := kubeconform(t, files...)
	for _, file := range files {
		if wrong[file] == "" {
			t.Errorf("a misspelt field in %s is accepted", filepath.Base(file))
		}
	}
}

// pods are the pod specs of a set of values, by what they are of.
func pods(all []object) map[string]any {
	found := map[string]any{}
	for _, o := range all {
		switch o.kind() {
		case "Deployment", "StatefulSet":
			found[o.kind()] = at(o, "spec", "template", "spec")
		case "Pod":
			found["Pod"] = o["spec"]
		}
	}
	return found
}

// Every container obeys PodSecurity "restricted" and writes only where it was
// given room; no pod may speak to Kubernetes.
func TestPodsAreRestricted(t *testing.T) {
	t.Parallel()
	seen := 0
	for _, set := range valueSets(t) {
		all := rendered(t, set)
		specs := podsAndSidecar(t, all)
		for of, spec := range specs {
			if of != "sidecar" && at(spec, "automountServiceAccountToken") != false {
				t.Errorf("%s: the token is mounted in the %s", set, of)
			}
			for _, c := range append(list(spec, "initContainers"), list(spec, "containers")...) {
				seen++
				s := at(c, "securityContext")
				drop := list(s, "capabilities", "drop")
				uid, _ := at(s, "runAsUser").(int)
				if at(s, "runAsNonRoot") != true || uid == 0 || at(s, "readOnlyRootFilesystem") != true || at(s, "allowPrivilegeEscalation") != false ||
					len(drop) != 1 || drop[0] != "ALL" || text(s, "seccompProfile", "type") != "RuntimeDefault" {
					t.Errorf("%s: container %s of the %s: %v", set, text(c, "name"), of, s)
				}
				if at(c, "resources", "limits", "memory") == nil {
					t.Errorf("%s: container %s of the %s may take all memory", set, text(c, "name"), of)
				}
			}
			for _, v := range list(spec, "volumes") {
				if empty := at(v, "emptyDir"); empty != nil && at(empty, "sizeLimit") == nil {
					t.Errorf("%s: volume %s of the %s has no bound", set, text(v, "name"), of)
				}
			}
		}
	}
	if seen < 20 {
		t.Errorf("only %d containers were looked at", seen)
	}
}

// A pod is never evicted, nor killed for its memory, for holding what its
// configuration lets it hold.
func TestRoomForTheSpool(t *testing.T) {
	t.Parallel()
	for _, set := range valueSets(t) {
		all := rendered(t, set)
		spec := pods(all)["Deployment"]
		if spec == nil {
			spec = sidecarPatch(t, all)
		}
		var config struct {
			Spool struct {
				Memory string `yaml:"memory_bytes"`
				Disk   string `yaml:"disk_bytes"`
			}
		}
		if err := yaml.Unmarshal([]byte(configOf(t, set, all)), &config); err != nil {
			t.Fatal(err)
		}
		for _, v := range list(spec, "volumes") {
			if text(v, "name") == "portcullis-spool" && sizeOf(t, text(v, "emptyDir", "sizeLimit")) <= sizeOf(t, config.Spool.Disk) {
				t.Errorf("%s: %v for a spool of %s", set, v, config.Spool.Disk)
			}
		}
		for _, c := range append(list(spec, "initContainers"), list(spec, "containers")...) {
			limit := text(c, "resources", "limits", "memory")
			if text(c, "name") == "portcullis" && sizeOf(t, limit) < sizeOf(t, config.Spool.Memory)+128<<20 {
				t.Errorf("%s: a limit of %s for a spool of %s in memory", set, limit, config.Spool.Memory)
			}
		}
	}
}

// sidecarPatch is the pod spec of the patch for a workload's pods, or nil.
func sidecarPatch(t *testing.T, all []object) any {
	t.Helper()
	patch := data(all, "portcullis-sidecar", "patch.yaml")
	if patch == "" {
		return nil
	}
	return at(objects(t, patch)[0], "spec", "template", "spec")
}

// podsAndSidecar is pods, and what the patch makes of a workload's.
func podsAndSidecar(t *testing.T, all []object) map[string]any {
	t.Helper()
	specs := pods(all)
	if patch := sidecarPatch(t, all); patch != nil {
		specs["sidecar"] = patch
	}
	return specs
}

// The patch for a workload's pods fits into a Deployment.
func TestSidecarPatchConforms(t *testing.T) {
	t.Parallel()
	spec, ok := sidecarPatch(t, rendered(t, "sidecar")).(map[string]any)
	if !ok {
		t.Fatal("there is no patch")
	}
	if n := len(list(spec, "initContainers")); n != 2 {
		t.Errorf("%d containers", n)
	}
	spec["containers"] = []any{map[string]any{"name": "web", "image": "web"}}
	labels := map[string]any{"app": "web"}
	workload := object{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": map[string]any{"name": "web"},
		"spec": map[string]any{
			"selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{"metadata": map[string]any{"labels": labels}, "spec": spec},
		},
	}
	text, err := yaml.Marshal(workload)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "workload.yaml")
	write(t, file, string(text))
	for _, why := range kubeconform(t, file) {
		t.Error(why)
	}
}

// Every volume that is mounted is there, and every port that is named.
func TestPodsHoldTogether(t *testing.T) {
	t.Parallel()
	for _, set := range valueSets(t) {
		all := rendered(t, set)
		specs := podsAndSidecar(t, all)
		for of, spec := range specs {
			volumes, ports := map[string]bool{"clamav-database": of == "StatefulSet"}, map[string]bool{}
			for _, v := range list(spec, "volumes") {
				volumes[text(v, "name")] = true
			}
			containers := append(list(spec, "initContainers"), list(spec, "containers")...)
			for _, c := range containers {
				for _, m := range list(c, "volumeMounts") {
					if !volumes[text(m, "name")] {
						t.Errorf("%s: %s mounts %s, which is no volume of the %s", set, text(c, "name"), text(m, "name"), of)
					}
				}
				for _, p := range list(c, "ports") {
					ports[text(p, "name")] = true
				}
				for _, probe := range []string{"livenessProbe", "readinessProbe", "startupProbe"} {
					for _, how := range []string{"httpGet", "tcpSocket"} {
						if port := text(c, probe, how, "port"); port != "" && !ports[port] {
							t.Errorf("%s: %s of %s asks port %s, which it has not", set, probe, text(c, "name"), port)
						}
					}
				}
			}
			if of != "Deployment" {
				continue
			}
			for _, s := range ofKind(all, "Service") {
				for _, p := range list(s, "spec", "ports") {
					if name := text(p, "targetPort"); name != "clamd" && !ports[name] {
						t.Errorf("%s: Service %s leads to port %s, which no container has", set, s.name(), name)
					}
				}
			}
		}
	}
}
