package envoy

import (
	"bytes"
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

// gatewayShape is what the objects may hold, written apart from the code that
// prints them, after the API reference of Envoy Gateway 1.9. The mesh tests ask
// the real definitions.
type gatewayShape struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Metadata   struct {
		Name, Namespace string
	} `yaml:"metadata"`
	Spec struct {
		TargetRefs []map[string]string `yaml:"targetRefs"`
		MergeType  string              `yaml:"mergeType"`
		ExtProc    []struct {
			BackendRefs []struct {
				Group, Kind, Name, Namespace string
				Port                         int
			} `yaml:"backendRefs"`
			BackendSettings map[string]any `yaml:"backendSettings"`
			ProcessingMode  struct {
				Request, Response struct{ Body string }
			} `yaml:"processingMode"`
			MessageTimeout string `yaml:"messageTimeout"`
			FailOpen       *bool  `yaml:"failOpen"`
			StatusOnError  int    `yaml:"statusOnError"`
			Metadata       struct {
				WritableNamespaces []string `yaml:"writableNamespaces"`
			} `yaml:"metadata"`
		} `yaml:"extProc"`
		Timeout struct {
			HTTP struct {
				StreamIdleTimeout string `yaml:"streamIdleTimeout"`
				RequestTimeout    string `yaml:"requestTimeout"`
			} `yaml:"http"`
		} `yaml:"timeout"`
		Connection struct {
			BufferLimit     int64 `yaml:"bufferLimit"`
			ConnectionLimit struct {
				MaxStreamDuration string `yaml:"maxStreamDuration"`
			} `yaml:"connectionLimit"`
		} `yaml:"connection"`
		HTTP1 struct {
			EnableTrailers bool `yaml:"enableTrailers"`
		} `yaml:"http1"`
		CircuitBreaker map[string]int      `yaml:"circuitBreaker"`
		HTTPUpgrade    []map[string]string `yaml:"httpUpgrade"`
		From, To       []map[string]string
	} `yaml:"spec"`
}

func gatewayObjects(t *testing.T, o GatewayOptions) map[string]gatewayShape {
	t.Helper()
	d := yaml.NewDecoder(bytes.NewReader(mustYAML(t, GatewayYAML, o)))
	d.KnownFields(true)
	all := map[string]gatewayShape{}
	for {
		var object gatewayShape
		if err := d.Decode(&object); err != nil {
			break
		}
		if _, twice := all[object.Kind]; twice {
			t.Errorf("two objects of kind %s", object.Kind)
		}
		all[object.Kind] = object
	}
	return all
}

// What the objects say is what the other targets say in Envoy's own words.
func TestGatewayHasTheSameGateAsStatic(t *testing.T) {
	for name, o := range gatewayCases() {
		all := gatewayObjects(t, o)
		o = o.withDefaults()
		g, timers := o.gate(), o.gate().timers()
		policy := all["EnvoyExtensionPolicy"]
		if len(policy.Spec.ExtProc) != 1 {
			t.Fatalf("%s: %d processors", name, len(policy.Spec.ExtProc))
		}
		p := policy.Spec.ExtProc[0]
		body := map[Profile]string{Duplex: "FullDuplexStreamed", Buffered: "Buffered"}[g.profile]
		if p.ProcessingMode.Request.Body != body || p.ProcessingMode.Response.Body != body {
			t.Errorf("%s: modes %+v", name, p.ProcessingMode)
		}
		if p.FailOpen == nil || *p.FailOpen || p.StatusOnError != 503 || len(p.Metadata.WritableNamespaces) != 1 || p.Metadata.WritableNamespaces[0] != metadataNamespace {
			t.Errorf("%s: %+v", name, p)
		}
		if b := p.BackendRefs[0]; b.Name != o.Service || b.Port != o.Port || b.Namespace != "" && b.Namespace != o.ServiceNamespace {
			t.Errorf("%s: Portcullis is at %+v", name, b)
		}
		for field, d := range map[string]struct {
			text string
			want time.Duration
		}{
			"messageTimeout":    {p.MessageTimeout, timers.message},
			"streamIdleTimeout": {all["ClientTrafficPolicy"].Spec.Timeout.HTTP.StreamIdleTimeout, timers.idle},
			"maxStreamDuration": {all["ClientTrafficPolicy"].Spec.Connection.ConnectionLimit.MaxStreamDuration, timers.exchange},
			"requestTimeout":    {all["BackendTrafficPolicy"].Spec.Timeout.HTTP.RequestTimeout, 0},
		} {
			if got, err := time.ParseDuration(d.text); err != nil || got != d.want {
				t.Errorf("%s: %s is %q, want %v, error %v", name, field, d.text, d.want, err)
			}
		}
		if limit := all["ClientTrafficPolicy"].Spec.Connection.BufferLimit; limit != int64(g.connectionBuffer()) {
			t.Errorf("%s: buffers of %d", name, limit)
		}
		if _, granted := all["ReferenceGrant"]; granted != (o.Namespace != o.ServiceNamespace) {
			t.Errorf("%s: a ReferenceGrant: %v", name, granted)
		}
	}
}

func TestGatewayTargets(t *testing.T) {
	gateway := map[string]string{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public"}
	route := map[string]string{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": "uploads"}
	for name, want := range map[string][2]map[string]string{
		"gateway-duplex": {gateway, gateway},
		"gateway-route":  {route, gateway},
	} {
		all := gatewayObjects(t, gatewayCases()[name])
		for kind, target := range map[string]map[string]string{
			"EnvoyExtensionPolicy": want[0], "BackendTrafficPolicy": want[0], "ClientTrafficPolicy": want[1],
		} {
			if d := cmp.Diff([]map[string]string{target}, all[kind].Spec.TargetRefs); d != "" {
				t.Errorf("%s: %s:\n%s", name, kind, d)
			}
			if merge := all[kind].Spec.MergeType; (merge != "") != (target["kind"] == "HTTPRoute") {
				t.Errorf("%s: %s has mergeType %q; the API takes it for routes alone", name, kind, merge)
			}
		}
	}
}

// The Gateway API takes no fractions and at most five digits a unit.
func TestGatewayDurations(t *testing.T) {
	pattern := regexp.MustCompile(`^([0-9]{1,5}(h|m|s|ms)){1,4}$`)
	for _, d := range []time.Duration{
		0, time.Millisecond, 1500 * time.Millisecond, 35 * time.Second, time.Minute, 345 * time.Second, time.Hour, 99 * time.Hour,
		4*24*time.Hour + 61*time.Second + 7*time.Millisecond,
	} {
		text := gatewayDuration(d)
		if got, err := time.ParseDuration(text); err != nil || got != d || !pattern.MatchString(text) {
			t.Errorf("%v is written as %q", d, text)
		}
	}
	if text := gatewayDuration(1500 * time.Microsecond); text != "2ms" {
		t.Errorf("1.5 ms is written as %q", text)
	}
}
