package envoy

import (
	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	heapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	"google.golang.org/protobuf/types/known/anypb"
)

// Static returns the bootstrap of an Envoy that holds every body of one service
// until Portcullis has judged it. It needs Envoy 1.38 or newer; 1.40.0 is the
// release it is tested with.
//
// The error names every bad option and what to write instead.
func Static(o Options) (*bootstrapv3.Bootstrap, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	manager, err := o.connectionManager()
	if err != nil {
		return nil, err
	}
	service, err := upstream(mustEndpoint(o.Upstream), o.UpstreamHTTP2)
	if err != nil {
		return nil, err
	}
	return o.bootstrap(manager, service)
}

// bootstrap puts the parts together: a listener for m, Portcullis, and where
// what has passed goes.
func (o Options) bootstrap(m *hcmv3.HttpConnectionManager, onward *clusterv3.Cluster) (*bootstrapv3.Bootstrap, error) {
	listener, err := o.listener(m)
	if err != nil {
		return nil, err
	}
	gate, err := processor(mustEndpoint(o.Processor))
	if err != nil {
		return nil, err
	}
	b := &bootstrapv3.Bootstrap{
		StaticResources: &bootstrapv3.Bootstrap_StaticResources{
			Listeners: []*listenerv3.Listener{listener},
			Clusters:  []*clusterv3.Cluster{gate, onward},
		},
	}
	if o.Admin != "" {
		b.Admin = &bootstrapv3.Admin{Address: mustEndpoint(o.Admin).proto()}
	}
	if o.MaxHeapBytes != 0 {
		if b.OverloadManager, err = overload(uint64(o.MaxHeapBytes)); err != nil {
			return nil, err
		}
	}
	return b, validate(b)
}

// StaticYAML is [Static] as YAML, with the reason beside every setting that is
// not Envoy's default. Equal options give equal bytes.
func StaticYAML(o Options) ([]byte, error) {
	b, err := Static(o)
	if err != nil {
		return nil, err
	}
	o = o.withDefaults()
	doc, err := yamlOf(b)
	if err != nil {
		return nil, err
	}
	annotate(doc, "", o.reasons())
	return printYAML(staticPreamble(o), doc)
}

const heapMonitor = "envoy.resource_monitors.fixed_heap"

// overload makes Envoy give memory back at 92 % of its heap and refuse requests
// at 95 %: what it holds for slow receivers after a release is its own to bound.
func overload(maxHeap uint64) (*overloadv3.OverloadManager, error) {
	monitor, err := anypb.New(&heapv3.FixedHeapConfig{MaxHeapSizeBytes: maxHeap})
	if err != nil {
		return nil, err
	}
	return &overloadv3.OverloadManager{
		ResourceMonitors: []*overloadv3.ResourceMonitor{{
			Name:       heapMonitor,
			ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: monitor},
		}},
		Actions: []*overloadv3.OverloadAction{
			heapAction("envoy.overload_actions.shrink_heap", 92),
			heapAction("envoy.overload_actions.stop_accepting_requests", 95),
		},
	}, nil
}

func heapAction(name string, percent float64) *overloadv3.OverloadAction {
	return &overloadv3.OverloadAction{
		Name: name,
		Triggers: []*overloadv3.Trigger{{
			Name: heapMonitor,
			TriggerOneof: &overloadv3.Trigger_Threshold{
				Threshold: &overloadv3.ThresholdTrigger{Value: percent / 100},
			},
		}},
	}
}
