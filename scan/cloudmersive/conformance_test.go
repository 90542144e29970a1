package cloudmersive

import (
	"testing"

	"github.com/portcullis-av/portcullis/scan/cloudmersive/cloudmersivetest"
	"github.com/portcullis-av/portcullis/scan/scantest"
)

// The engine keeps what every engine promises, with either scan.
func TestConformance(t *testing.T) {
	// The suite calls plain text image.png, which an advanced scan blocks by default.
	yes := true
	for name, advanced := range map[string]*Advanced{"basic": nil, "advanced": {AllowInvalidFiles: &yes}} {
		t.Run(name, func(t *testing.T) {
			scantest.Conformance(t, func(t *testing.T) scantest.Rig {
				s := newServer(t)
				return scantest.Rig{
					Engine: newEngine(t, Config{URL: s.URL(), Retry: true, Advanced: advanced}),
					Break:  func(*testing.T) { s.Close() },
					Hang:   func(*testing.T) { s.Always(cloudmersivetest.Stall()) },
				}
			})
		})
	}
}
