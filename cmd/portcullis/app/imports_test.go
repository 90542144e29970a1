package app_test

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const module = "github.com/portcullis-av/portcullis/"

// mayImport says which of our own packages a package may import; * ends a
// prefix. The first pattern that matches a package holds.
var mayImport = []struct {
	room string
	may  []string
}{
	{"cmd/portcullis", []string{"cmd/portcullis/app"}},
	{"cmd/portcullis/app", []string{"cmd/portcullis/config*", "extproc", "scan", "scan/*", "envoy"}},
	{"cmd/portcullis/config*", []string{"cmd/portcullis/config/v1"}},
	{"extproc/extproctest", nil},
	{"extproc", []string{"scan", "scan/gate"}},
	{"scan", nil},
	{"scan/scantest", []string{"scan"}},
	{"scan/clamd/clamdtest", nil},
	{"scan/cloudmersive/cloudmersivetest", nil},
	{"scan/icap/icaptest", nil},
	{"scan/remote", []string{"scan", "scan/scanv1"}},
	{"scan/*", []string{"scan"}},
	{"envoy", nil},
	{"e2e*", []string{"e2e/*", "envoy", "extproc/extproctest", "scan/scantest", "scan/clamd/clamdtest", "scan/cloudmersive/cloudmersivetest", "scan/icap/icaptest"}},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Module     *struct{ Path, Version string }
}

func goList(t *testing.T, args ...string) []goPackage {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"list", "-json=ImportPath,Imports,Module"}, args...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func matches(pattern, name string) bool {
	if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
		return strings.HasPrefix(name, prefix)
	}
	return pattern == name
}

// Imports go one way: doors know the gate, the gate knows the vocabulary, and
// rooms never know each other.
func TestImportsGoOneWay(t *testing.T) {
	for _, p := range goList(t, module+"...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		i := slices.IndexFunc(mayImport, func(r struct {
			room string
			may  []string
		},
		) bool {
			return matches(r.room, name)
		})
		if i < 0 {
			t.Errorf("%s is in no room: add it to the table above and to the design", name)
			continue
		}
		for _, path := range p.Imports {
			imported, ours := strings.CutPrefix(path, module)
			if ours && !slices.ContainsFunc(mayImport[i].may, func(may string) bool { return matches(may, imported) }) {
				t.Errorf("%s must not import %s", name, imported)
			}
		}
	}
}

// The vocabulary needs the standard library only, and no room of scan knows
// Envoy; gRPC is known only where ScanService is served or asked.
func TestForeignImports(t *testing.T) {
	for _, p := range goList(t, module+"...") {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, path := range p.Imports {
			switch {
			case name == "scan" && strings.Contains(path, "."):
				t.Errorf("scan imports %s: it must need the standard library only", path)
			case strings.HasPrefix(name, "scan/") && name != "scan/scanv1" && name != "scan/remote" && strings.HasPrefix(path, "google.golang.org/grpc"):
				t.Errorf("%s imports %s: only doors speak gRPC", name, path)
			case strings.HasPrefix(path, "go.opentelemetry.io/") && name != "cmd/portcullis/app":
				t.Errorf("%s imports %s: only the composition root knows where traces go", name, path)
			case strings.HasPrefix(name, "scan") && strings.HasPrefix(path, "github.com/envoyproxy/"):
				t.Errorf("%s imports %s: scan knows no Envoy", name, path)
			}
		}
	}
}

// The modules linked into the binary are a committed list, so that a new one is
// a decision and not an accident.
func TestLinkedModules(t *testing.T) {
	var linked []string
	for _, p := range goList(t, "-deps", module+"cmd/portcullis") {
		if m := p.Module; m != nil && m.Version != "" && !slices.Contains(linked, m.Path) {
			linked = append(linked, m.Path)
		}
	}
	slices.Sort(linked)
	got := strings.Join(linked, "\n") + "\n"
	const file = "testdata/modules.txt"
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("linked modules changed (-want +got); if meant, run go test ./cmd/portcullis/app -update:\n%s", diff)
	}
}
