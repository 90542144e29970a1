package chart_test

import (
	"encoding/json"
	"strings"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// strictly decodes a tree as one of Envoy's messages; an unknown field, enum
// value or @type is an error, which neither Kubernetes nor Istio would tell.
func strictly(tree any, into proto.Message) error {
	j, err := json.Marshal(tree)
	if err != nil {
		return err
	}
	return protojson.Unmarshal(j, into)
}

// validateAll checks a message and every packed one in it.
func validateAll(t *testing.T, m proto.Message) {
	t.Helper()
	if v, ok := m.(interface{ ValidateAll() error }); ok {
		if err := v.ValidateAll(); err != nil {
			t.Errorf("%s: %v", m.ProtoReflect().Descriptor().FullName(), err)
		}
	}
	if packed, ok := m.(*anypb.Any); ok {
		inner, err := packed.UnmarshalNew()
		if err != nil {
			t.Error(err)
			return
		}
		validateAll(t, inner)
		return
	}
	m.ProtoReflect().Range(func(f protoreflect.FieldDescriptor, v protoreflect.Value) bool {
		switch {
		case f.IsMap() && f.MapValue().Message() != nil:
			v.Map().Range(func(_ protoreflect.MapKey, v protoreflect.Value) bool {
				validateAll(t, v.Message().Interface())
				return true
			})
		case f.IsList() && f.Message() != nil:
			for i := range v.List().Len() {
				validateAll(t, v.List().Get(i).Message().Interface())
			}
		case f.Message() != nil && !f.IsMap():
			validateAll(t, v.Message().Interface())
		}
		return true
	})
}

// Every patch of an EnvoyFilter is a message of Envoy's, and those that stand
// for themselves are valid.
func TestIstioPatchesAreEnvoyMessages(t *testing.T) {
	t.Parallel()
	patches := 0
	for _, set := range valueSets(t) {
		for _, filter := range ofKind(rendered(t, set), "EnvoyFilter") {
			for _, p := range list(filter, "spec", "configPatches") {
				patches++
				m := map[string]proto.Message{
					"HTTP_FILTER": &hcmv3.HttpFilter{}, "NETWORK_FILTER": &listenerv3.Filter{}, "LISTENER": &listenerv3.Listener{},
					"CLUSTER": &clusterv3.Cluster{}, "HTTP_ROUTE": &routev3.Route{},
				}[text(p, "applyTo")]
				if m == nil {
					t.Errorf("%s: an unexpected patch of %q", set, text(p, "applyTo"))
					continue
				}
				if err := strictly(at(p, "patch", "value"), m); err != nil {
					t.Errorf("%s: %v", set, err)
				} else if text(p, "patch", "operation") != "MERGE" {
					validateAll(t, m)
				}
			}
		}
	}
	if patches < 20 {
		t.Errorf("only %d patches were looked at", patches)
	}
}

// bootstraps are the configurations of standalone Envoys, by set of values.
func bootstraps(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, set := range valueSets(t) {
		if b := data(rendered(t, set), fullname(set)+"-envoy", "envoy.yaml"); b != "" {
			found[set] = b
		}
	}
	if len(found) < 3 {
		t.Errorf("only %d sets have an Envoy of their own", len(found))
	}
	return found
}

// The standalone Envoy's configuration is valid, and a real Envoy says so too.
func TestBootstrapIsValid(t *testing.T) {
	t.Parallel()
	for set, b := range bootstraps(t) {
		t.Run(set, func(t *testing.T) {
			var tree any
			if err := yaml.Unmarshal([]byte(b), &tree); err != nil {
				t.Fatal(err)
			}
			m := &bootstrapv3.Bootstrap{}
			if err := strictly(tree, m); err != nil {
				t.Fatal(err)
			}
			validateAll(t, m)
			binary, err := rig.FindEnvoy(t.Context())
			if err != nil {
				missing(t, err.Error())
			}
			if err := rig.ValidateEnvoy(t.Context(), binary, t.TempDir(), []byte(b)); err != nil {
				t.Error(err)
			}
		})
	}
}

// The linter, which knows what validation cannot, finds nothing in anything the
// chart renders.
func TestLinterFindsNothing(t *testing.T) {
	t.Parallel()
	checked := 0
	lint := func(set string, config []byte) {
		checked++
		v := valuesOf(t, set)
		linter := envoy.Linter{EnvoyVersion: "1.40.0", MaxBodyBytes: sizeOf(t, v.MaxBody)}
		linter.ScanTimeout, linter.UploadTimeout = v.timeouts()
		findings, err := linter.Lint(config)
		if err != nil {
			t.Errorf("%s: %v", set, err)
		}
		for _, f := range findings {
			// Tunnels are holes, and asked for.
			if f.Level != envoy.LevelInfo && (set != "standalone-tunnels" || f.Rule != "L11") {
				t.Errorf("%s: %v", set, f)
			}
		}
	}
	for set, b := range bootstraps(t) {
		lint(set, []byte(b))
	}
	for _, set := range valueSets(t) {
		if !strings.HasPrefix(set, "istio") && !strings.HasPrefix(set, "envoy-gateway") {
			continue
		}
		all, err := templateOf(t, set)
		if err != nil {
			t.Fatal(err)
		}
		lint(set, []byte(all))
	}
	if checked < 9 {
		t.Errorf("only %d configurations were looked at", checked)
	}
}
