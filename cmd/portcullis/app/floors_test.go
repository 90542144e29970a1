package app_test

import (
	"go/version"
	"runtime"
	"strings"
	"testing"
)

// floors are the oldest versions without a known weakness in what Portcullis
// uses of them: the toolchain's and modules' advisories of the Go vulnerability
// database, as of November 2026.
var floors = map[string]string{
	"google.golang.org/grpc":          "v1.82.1",
	"github.com/klauspost/compress":   "v1.20.3",
	"github.com/andybalholm/brotli":   "v1.2.8",
	"go.opentelemetry.io/otel":        "v1.44.0",
	"github.com/nwaples/rardecode/v2": "v2.2.0",
	"github.com/ulikunitz/xz":         "v0.5.15",
}

// goFloor is the oldest toolchain: older ones have known weaknesses in
// crypto/tls, net/mail, archive and mime packages.
const goFloor = "go1.26.6"

// asGo lets go/version compare the versions of modules too.
func asGo(module string) string { return "go" + strings.TrimPrefix(module, "v") }

// Nothing is linked or built with a version below its floor.
func TestFloors(t *testing.T) {
	if v, _, _ := strings.Cut(runtime.Version(), " "); version.Compare(v, goFloor) < 0 {
		t.Errorf("built with %s: %s or later is needed", v, goFloor)
	}
	met := map[string]bool{}
	for _, p := range goList(t, "-deps", module+"cmd/portcullis") {
		if p.Module == nil || met[p.Module.Path] {
			continue
		}
		floor, ok := floors[p.Module.Path]
		if !ok {
			continue
		}
		met[p.Module.Path] = true
		have := asGo(p.Module.Version)
		if !version.IsValid(have) || version.Compare(have, asGo(floor)) < 0 {
			t.Errorf("%s %s is linked: %s or later is needed", p.Module.Path, p.Module.Version, floor)
		}
	}
	for _, needed := range []string{"google.golang.org/grpc", "github.com/klauspost/compress"} {
		if !met[needed] {
			t.Errorf("%s is not linked: does this test look at the right package?", needed)
		}
	}
}

// The comparison tells newer from older, figure by figure.
func TestFloorsCompare(t *testing.T) {
	for _, c := range []struct {
		older, newer string
	}{{"v1.82.0", "v1.82.1"}, {"v1.9.0", "v1.82.1"}, {"v1.82.1", "v1.100.0"}, {"v0.5.9", "v0.5.15"}, {"v1.44.0", "v2.0.0"}} {
		if version.Compare(asGo(c.older), asGo(c.newer)) >= 0 {
			t.Errorf("%s is not older than %s", c.older, c.newer)
		}
	}
}
