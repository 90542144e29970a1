package envoy

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// istioObjects are the EnvoyFilters that put a gate somewhere.
type istioObjects struct {
	inserts  []istioInsert
	removals []at[string]
}

type istioInsert struct {
	path    string // of the patch
	reach   string // the pods that it is for
	context string // the direction
	cluster string
}

type envoyFilterRead struct {
	Metadata objectMeta `json:"metadata"`
	Spec     struct {
		WorkloadSelector struct {
			Labels map[string]string `json:"labels"`
		} `json:"workloadSelector"`
		TargetRefs    []any       `json:"targetRefs"`
		ConfigPatches []patchRead `json:"configPatches"`
	} `json:"spec"`
}

type patchRead struct {
	ApplyTo string `json:"applyTo"`
	Match   struct {
		Context  string `json:"context"`
		Listener struct {
			FilterChain struct {
				Filter struct {
					SubFilter objectMeta `json:"subFilter"`
				} `json:"filter"`
			} `json:"filterChain"`
		} `json:"listener"`
	} `json:"match"`
	Patch struct {
		Operation string         `json:"operation"`
		Value     map[string]any `json:"value"`
	} `json:"patch"`
}

func envoyFilterOf(tree map[string]any) (envoyFilterRead, error) {
	var object envoyFilterRead
	j, err := json.Marshal(tree)
	if err == nil {
		err = json.Unmarshal(j, &object)
	}
	if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
		return object, fmt.Errorf("EnvoyFilter: %s cannot be a %s", wrong.Field, wrong.Value)
	}
	return object, err
}

// readEnvoyFilter reads every patch as the message that istiod takes it for.
func (l *lint) readEnvoyFilter(tree map[string]any) error {
	object, err := envoyFilterOf(tree)
	if err != nil {
		return err
	}
	l.knownTo("Istio", l.prefix+"spec", tree["spec"], "workloadSelector", "targetRefs", "configPatches", "priority")
	reach, err := json.Marshal([]any{object.Metadata.Namespace, object.Spec.WorkloadSelector, object.Spec.TargetRefs})
	if err != nil {
		return err
	}
	for i, p := range object.Spec.ConfigPatches {
		at := fmt.Sprintf("%sspec.configPatches[%d]", l.prefix, i)
		l.patchWords(at, p)
		l.istio.removals = append(l.istio.removals, p.removes(at)...)
		if p.Patch.Value == nil {
			continue
		}
		before := len(l.gates)
		l.readPatch(at+".patch.value", p)
		if p.ApplyTo == "EXTENSION_CONFIG" || p.Patch.Operation == "MERGE" {
			continue
		}
		for _, g := range l.gates[before:] {
			cluster := g.m.GetGrpcService().GetEnvoyGrpc().GetClusterName()
			l.istio.inserts = append(l.istio.inserts, istioInsert{at + ".patch.value", string(reach), p.context(), cluster})
			l.scope(object, cluster)
		}
		if len(l.gates) > before {
			l.place(at, p)
		}
	}
	return nil
}

func (p patchRead) context() string { return orDefault(p.Match.Context, "ANY") }

func (p patchRead) removes(path string) []at[string] {
	if p.ApplyTo != "HTTP_FILTER" || p.Patch.Operation != "REMOVE" {
		return nil
	}
	return []at[string]{{path, p.Match.Listener.FilterChain.Filter.SubFilter.Name}}
}

// patchWords reports words that Istio does not know: it refuses the object, and the
// gate is nowhere.
func (l *lint) patchWords(path string, p patchRead) {
	for _, w := range []struct {
		field, value string
		known        []string
	}{
		{"applyTo", p.ApplyTo, []string{
			"LISTENER", "FILTER_CHAIN", "NETWORK_FILTER", "HTTP_FILTER", "ROUTE_CONFIGURATION", "VIRTUAL_HOST", "HTTP_ROUTE", "CLUSTER",
			"EXTENSION_CONFIG", "BOOTSTRAP", "LISTENER_FILTER",
		}},
		{"patch.operation", p.Patch.Operation, []string{"MERGE", "ADD", "REMOVE", "INSERT_BEFORE", "INSERT_AFTER", "INSERT_FIRST", "REPLACE"}},
		{"match.context", p.context(), []string{"ANY", "SIDECAR_INBOUND", "SIDECAR_OUTBOUND", "GATEWAY", "WAYPOINT"}},
	} {
		if !slices.Contains(w.known, w.value) {
			l.add(LevelError, "L25", path+"."+w.field, fmt.Sprintf("Istio does not know %q here.", w.value), "Write one of "+strings.Join(w.known, ", ")+".")
		}
	}
}

// place looks at where in the chain a patch puts the gate.
func (l *lint) place(path string, p patchRead) {
	sub := p.Match.Listener.FilterChain.Filter.SubFilter.Name
	switch {
	case p.Patch.Operation == "ADD", p.Patch.Operation == "INSERT_AFTER" && (sub == "" || sub == routerName):
		l.add(LevelError, "L14", path+".patch.operation", "Behind the router the gate is never reached: Envoy refuses the listener, and goes on without the gate.",
			"Set INSERT_BEFORE, with the router as subFilter.")
	case p.Patch.Operation == "INSERT_FIRST", p.Patch.Operation == "INSERT_BEFORE" && sub == "":
		l.add(LevelWarn, "L14", path+".patch.operation", "The gate comes first: bodies of strangers are held and scanned before another filter refuses them.",
			"Set INSERT_BEFORE, with the router as subFilter.")
	}
}

func (l *lint) readPatch(path string, p patchRead) {
	value := p.Patch.Value
	switch p.ApplyTo {
	case "HTTP_FILTER":
		if f := (&hcmv3.HttpFilter{}); l.decode(path, value, f) {
			l.readHTTPFilter(path, f, p.Patch.Operation == "MERGE")
		}
	case "NETWORK_FILTER":
		f, m := &listenerv3.Filter{}, &hcmv3.HttpConnectionManager{}
		if l.decode(path, value, f) {
			if at, ok := openInto(path+".typed_config", f.GetTypedConfig(), m); ok {
				l.readManager(at, m, true)
			}
		}
	case "LISTENER":
		if n := (&listenerv3.Listener{}); l.decode(path, value, n) {
			l.listeners = append(l.listeners, at[*listenerv3.Listener]{path, n})
		}
	case "FILTER_CHAIN":
		if c := (&listenerv3.FilterChain{}); l.decode(path, value, c) {
			l.readChain(path, c)
		}
	case "CLUSTER":
		if c := (&clusterv3.Cluster{}); l.decode(path, value, c) {
			l.clusters = append(l.clusters, at[*clusterv3.Cluster]{path, c})
		}
	case "HTTP_ROUTE":
		if r := (&routev3.Route{}); l.decode(path, value, r) {
			l.readRoute(routeAt{at: at[*routev3.Route]{path, r}, above: []map[string]*anypb.Any{r.GetTypedPerFilterConfig()}, fragment: p.Patch.Operation == "MERGE"})
		}
	case "VIRTUAL_HOST":
		if v := (&routev3.VirtualHost{}); l.decode(path, value, v) {
			l.readHost(path, v, nil)
		}
	case "ROUTE_CONFIGURATION":
		if c := (&routev3.RouteConfiguration{}); l.decode(path, value, c) {
			l.readRoutes(at[*routev3.RouteConfiguration]{path, c})
		}
	}
}

// scope looks at whom an EnvoyFilter is for.
func (l *lint) scope(f envoyFilterRead, cluster string) {
	if len(f.Spec.WorkloadSelector.Labels) > 0 || len(f.Spec.TargetRefs) > 0 {
		return
	}
	const fix = "Select the pods with workloadSelector, or a Gateway with targetRefs."
	path := l.prefix + "spec.workloadSelector"
	_, host, _ := strings.Cut(cluster, "||") // outbound|PORT||SERVICE.NAMESPACE.svc.DOMAIN
	labels := strings.Split(host, ".")
	if f.Metadata.Namespace == "istio-system" || len(labels) > 1 && labels[1] == f.Metadata.Namespace {
		l.add(LevelError, "L31", path, "Without a selector the filter stands before Portcullis' own pods too: every exchange waits for itself.", fix)
		return
	}
	l.add(LevelWarn, "L31", path, "Without a selector the filter stands before every pod of the namespace.", fix)
}

// checkIstio looks for gates that stand before the same pods, and for what is
// missing around them.
func (l *lint) checkIstio() {
	for i, p := range l.istio.inserts {
		for _, first := range l.istio.inserts[:i] {
			if first.reach == p.reach && first.cluster == p.cluster && (first.context == p.context || first.context == "ANY" || p.context == "ANY") {
				l.add(LevelError, "L28", p.path, "The same processor is put before the same pods as in "+first.path+": every body is scanned twice.", "Remove one.")
				break
			}
		}
	}
	for _, r := range l.istio.removals {
		if slices.ContainsFunc(l.gates, func(g gateAt) bool { return g.name == r.m }) {
			l.add(LevelError, "L6", r.path+".patch.operation", "This takes the gate out again: nothing is scanned where it applies.", "Remove the patch.")
		}
	}
	timed := slices.ContainsFunc(l.managers, func(m manager) bool { return m.fragment && m.m.GetStreamIdleTimeout() != nil })
	if len(l.istio.inserts) > 0 && !timed && l.leg() >= 5*time.Minute {
		l.add(LevelWarn, "L9", "(NETWORK_FILTER)", fmt.Sprintf("No patch sets stream_idle_timeout: by default Envoy ends an exchange after 5 min of silence, and a held body is silent for up to %v.", l.leg()),
			"Add the patch that portcullis envoy-config istio writes.")
	}
}
