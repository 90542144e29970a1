package chart_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite golden files, the generated part of the values' schema and the chart's README")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	repository = "../.."
	chartDir   = repository + "/helm/portcullis"
	goldenDir  = repository + "/helm/testdata"

	// release, namespace: as in the docs.
	release   = "portcullis"
	namespace = "portcullis"

	// kubernetes is the release that the chart is rendered for; a helm that was
	// built without one takes 1.20.
	kubernetes = "1.33.0"
)

// tool returns the path of a program that "make chart-tools" installs.
func tool(t *testing.T, name string) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(cache, "portcullis", "tools", name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	if found, err := exec.LookPath(name); err == nil {
		return found
	}
	missing(t, name+" is not installed; make chart-tools fetches it")
	return ""
}

// missing skips the test for want of an installable part, which is a failure
// where everything is promised to be installed.
func missing(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s (CI=true)", reason)
	}
	t.Skip(reason)
}

// run runs a program and returns what it printed; an error holds what it
// complained about.
func run(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	// Helm would look for plug-ins, repositories and a cluster of who runs the test.
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "HELM_CACHE_HOME="+home, "KUBECONFIG="+home+"/none")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return stdout.String(), errors.Join(err, errors.New(stderr.String()+stdout.String()))
	}
	return stdout.String(), nil
}

// valueSets are the sets of values in the chart, each one way to use it.
func valueSets(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(chartDir, "ci", "*-values.yaml"))
	if err != nil || len(files) < 8 {
		t.Fatalf("%d sets of values, error %v", len(files), err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(filepath.Base(f), "-values.yaml"))
	}
	return names
}

func valuesFile(set string) string { return filepath.Join(chartDir, "ci", set+"-values.yaml") }

// template renders the chart with further arguments of helm.
func template(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return templateBy(t, "helm", args...)
}

func templateBy(t *testing.T, helm string, args ...string) (string, error) {
	t.Helper()
	args = append([]string{"template", release, chartDir, "--namespace", namespace, "--kube-version", kubernetes}, args...)
	return run(t, tool(t, helm), args...)
}

// renderings holds what every set of values was rendered to, because all tests
// look at it and helm takes its time.
var renderings sync.Map

func templateOf(t *testing.T, set string) (string, error) {
	t.Helper()
	render := func() (string, error) { return template(t, "--values", valuesFile(set)) }
	once, _ := renderings.LoadOrStore(set, sync.OnceValues(render))
	return once.(func() (string, error))()
}

// object is one rendered object of Kubernetes.
type object map[string]any

// rendered returns the objects of one set of values.
func rendered(t *testing.T, set string) []object {
	t.Helper()
	text, err := templateOf(t, set)
	if err != nil {
		t.Fatal(err)
	}
	return objects(t, text)
}

func objects(t *testing.T, text string) []object {
	t.Helper()
	var all []object
	for dec := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o map[string]any
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		if len(o) > 0 {
			all = append(all, o)
		}
	}
}

// at follows keys and indices into a tree; nil is nothing there.
func at(tree any, path ...any) any {
	for _, step := range path {
		switch s := step.(type) {
		case string:
			switch m := tree.(type) {
			case object:
				tree = m[s]
			case map[string]any:
				tree = m[s]
			default:
				return nil
			}
		case int:
			list, ok := tree.([]any)
			if !ok || s >= len(list) {
				return nil
			}
			tree = list[s]
		}
	}
	return tree
}

func text(tree any, path ...any) string {
	s, _ := at(tree, path...).(string)
	return s
}

func list(tree any, path ...any) []any {
	l, _ := at(tree, path...).([]any)
	return l
}

func (o object) kind() string { return text(o, "kind") }
func (o object) name() string { return text(o, "metadata", "name") }

// ofKind are the objects of one kind.
func ofKind(all []object, kind string) []object {
	return slices.DeleteFunc(slices.Clone(all), func(o object) bool { return o.kind() != kind })
}

// data is a key of a ConfigMap, or "".
func data(all []object, configMap, key string) string {
	for _, o := range ofKind(all, "ConfigMap") {
		if o.name() == configMap {
			return text(o, "data", key)
		}
	}
	return ""
}

func readYAML(t *testing.T, file string, into any) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

// await repeats what takes a moment to come true, until it names no fault.
func await(t *testing.T, fault func() string) {
	t.Helper()
	for until := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		why := fault()
		if why == "" {
			return
		}
		if time.Now().After(until) {
			t.Fatal(why)
		}
	}
}
