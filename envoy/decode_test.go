package envoy

import (
	"encoding/json"
	"testing"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/anypb"
)

// decode is strict: an unknown field, enum value or @type is an error. It is
// written apart from the code that prints.
func decode[M proto.Message](t *testing.T, text []byte, into M) M {
	t.Helper()
	var tree any
	if err := yaml.Unmarshal(text, &tree); err != nil {
		t.Fatal(err)
	}
	return decodeTree(t, tree, into)
}

func decodeTree[M proto.Message](t *testing.T, tree any, into M) M {
	t.Helper()
	j, err := json.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal(j, into); err != nil {
		t.Fatalf("%v in:\n%s", err, j)
	}
	return into
}

func TestStaticYAMLSaysWhatStaticSays(t *testing.T) {
	for name, o := range staticCases() {
		want, err := Static(o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := decode(t, mustYAML(t, StaticYAML, o), &bootstrapv3.Bootstrap{})
		if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
			t.Errorf("%s: the YAML differs from the message:\n%s", name, d)
		}
		if err := validate(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestForwardProxyYAMLSaysWhatForwardProxySays(t *testing.T) {
	for name, o := range forwardCases() {
		want, err := ForwardProxy(o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got := decode(t, mustYAML(t, ForwardProxyYAML, o), &bootstrapv3.Bootstrap{})
		if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
			t.Errorf("%s: the YAML differs from the message:\n%s", name, d)
		}
		if err := validate(got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		m := connectionManagerOf(t, got)
		gate := m.GetHttpFilters()[len(m.GetHttpFilters())-2]
		if d := cmp.Diff(o.options().gate().filter(processorCluster), unpack(t, gate.GetTypedConfig(), &extprocv3.ExternalProcessor{}), protocmp.Transform()); d != "" {
			t.Errorf("%s: the gate before the router is not that of a reverse proxy:\n%s", name, d)
		}
	}
}

// validate must look into packed messages, where most of a configuration is.
func TestValidateLooksInside(t *testing.T) {
	b, err := Static(Options{})
	if err != nil {
		t.Fatal(err)
	}
	filter := b.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters()[0]
	m := unpack(t, filter.GetTypedConfig(), &hcmv3.HttpConnectionManager{})
	f := unpack(t, m.GetHttpFilters()[0].GetTypedConfig(), &extprocv3.ExternalProcessor{})
	f.ProcessingMode.RequestBodyMode = 99
	m.HttpFilters[0].ConfigType = &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(t, f)}
	filter.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: pack(t, m)}
	if err := validate(b); err == nil {
		t.Error("an invalid enum value two packed messages deep was accepted")
	}
}

// istioObject is read with a shape of its own.
type istioObject struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
	Spec       struct {
		WorkloadSelector any `yaml:"workloadSelector"`
		TargetRefs       any `yaml:"targetRefs"`
		ConfigPatches    []struct {
			ApplyTo string `yaml:"applyTo"`
			Match   map[string]any
			Patch   struct {
				Operation string `yaml:"operation"`
				Value     any    `yaml:"value"`
			} `yaml:"patch"`
		} `yaml:"configPatches"`
	} `yaml:"spec"`
}

// patched does what istiod does with the patches, to the stand-alone Envoy of
// the same profile without its gate and timers.
func patched(t *testing.T, text []byte) *bootstrapv3.Bootstrap {
	t.Helper()
	var object istioObject
	if err := yaml.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	if object.APIVersion != "networking.istio.io/v1alpha3" || object.Kind != "EnvoyFilter" {
		t.Errorf("%s %s is no EnvoyFilter", object.APIVersion, object.Kind)
	}
	if (object.Spec.WorkloadSelector == nil) == (object.Spec.TargetRefs == nil) {
		t.Error("want either a selector or a target")
	}
	b, err := Static(Options{})
	if err != nil {
		t.Fatal(err)
	}
	listener, side := b.GetStaticResources().GetListeners()[0], b.GetStaticResources().GetClusters()[0]
	network := listener.GetFilterChains()[0].GetFilters()[0]
	m := unpack(t, network.GetTypedConfig(), &hcmv3.HttpConnectionManager{})
	router := m.GetHttpFilters()[1]
	m.StreamIdleTimeout, m.CommonHttpProtocolOptions, listener.PerConnectionBufferLimitBytes = nil, nil, nil
	applied := map[string]int{}
	for _, p := range object.Spec.ConfigPatches {
		applied[p.ApplyTo+" "+p.Patch.Operation]++
		switch p.ApplyTo {
		case "HTTP_FILTER":
			m.HttpFilters = []*hcmv3.HttpFilter{decodeTree(t, p.Patch.Value, &hcmv3.HttpFilter{}), router}
		case "NETWORK_FILTER":
			value := decodeTree(t, p.Patch.Value, &listenerv3.Filter{})
			if value.GetName() != network.GetName() {
				t.Errorf("the patch is for %q", value.GetName())
			}
			proto.Merge(m, unpack(t, value.GetTypedConfig(), &hcmv3.HttpConnectionManager{}))
		case "LISTENER":
			proto.Merge(listener, decodeTree(t, p.Patch.Value, &listenerv3.Listener{}))
		case "CLUSTER":
			proto.Merge(side, decodeTree(t, p.Patch.Value, &clusterv3.Cluster{}))
		case "HTTP_ROUTE":
			proto.Merge(m.GetRouteConfig().GetVirtualHosts()[0].GetRoutes()[0], decodeTree(t, p.Patch.Value, &routev3.Route{}))
		default:
			t.Errorf("unexpected patch of %s", p.ApplyTo)
		}
	}
	delete(applied, "HTTP_ROUTE MERGE")
	want := map[string]int{"HTTP_FILTER INSERT_BEFORE": 1, "NETWORK_FILTER MERGE": 1, "LISTENER MERGE": 1, "CLUSTER MERGE": 1}
	if d := cmp.Diff(want, applied); d != "" {
		t.Errorf("patches:\n%s", d)
	}
	gate := unpack(t, m.GetHttpFilters()[0].GetTypedConfig(), &extprocv3.ExternalProcessor{})
	side.Name = gate.GetGrpcService().GetEnvoyGrpc().GetClusterName()
	side.LoadAssignment.ClusterName = side.Name
	network.ConfigType = &listenerv3.Filter_TypedConfig{TypedConfig: pack(t, m)}
	return b
}

func TestIstioPatchesFitIntoAnEnvoy(t *testing.T) {
	for name, o := range istioCases() {
		b := patched(t, mustYAML(t, IstioYAML, o))
		if err := validate(b); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A filter in a mesh and one in a stand-alone Envoy must not drift apart.
func TestIstioHasTheSameGateAsStatic(t *testing.T) {
	for name, o := range istioCases() {
		want := o.gate().filter(o.withDefaults().cluster())
		m := connectionManagerOf(t, patched(t, mustYAML(t, IstioYAML, o)))
		got := unpack(t, m.GetHttpFilters()[0].GetTypedConfig(), &extprocv3.ExternalProcessor{})
		if d := cmp.Diff(want, got, protocmp.Transform()); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
		timers := o.gate().timers()
		if m.GetStreamIdleTimeout().AsDuration() != timers.idle ||
			m.GetCommonHttpProtocolOptions().GetMaxStreamDuration().AsDuration() != timers.exchange {
			t.Errorf("%s: the timers did not arrive: %v", name, m)
		}
	}
}

func connectionManagerOf(t *testing.T, b *bootstrapv3.Bootstrap) *hcmv3.HttpConnectionManager {
	t.Helper()
	network := b.GetStaticResources().GetListeners()[0].GetFilterChains()[0].GetFilters()[0]
	return unpack(t, network.GetTypedConfig(), &hcmv3.HttpConnectionManager{})
}

func unpack[M proto.Message](t *testing.T, from *anypb.Any, into M) M {
	t.Helper()
	if err := from.UnmarshalTo(into); err != nil {
		t.Fatal(err)
	}
	return into
}

func pack(t *testing.T, m proto.Message) *anypb.Any {
	t.Helper()
	a, err := anypb.New(m)
	if err != nil {
		t.Fatal(err)
	}
	return a
}
