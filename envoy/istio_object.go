package envoy

import "go.yaml.in/yaml/v3"

// The shape of networking.istio.io/v1alpha3 EnvoyFilter, as far as it is used.
type (
	envoyFilter struct {
		APIVersion string          `yaml:"apiVersion"`
		Kind       string          `yaml:"kind"`
		Metadata   objectMeta      `yaml:"metadata"`
		Spec       envoyFilterSpec `yaml:"spec"`
	}
	objectMeta struct {
		Name      string `yaml:"name"`
		Namespace string `yaml:"namespace"`
	}
	envoyFilterSpec struct {
		WorkloadSelector *labels       `yaml:"workloadSelector,omitempty"`
		TargetRefs       []targetRef   `yaml:"targetRefs,omitempty"`
		Priority         int           `yaml:"priority"`
		ConfigPatches    []configPatch `yaml:"configPatches"`
	}
	labels struct {
		Labels map[string]string `yaml:"labels"`
	}
	targetRef struct {
		Group string `yaml:"group"`
		Kind  string `yaml:"kind"`
		Name  string `yaml:"name"`
	}
	configPatch struct {
		ApplyTo string     `yaml:"applyTo"`
		Match   patchMatch `yaml:"match"`
		Patch   patch      `yaml:"patch"`

		// about explains the patch, why the settings of its value, whose path is at.
		about, at string
		why       []reason
	}
	patchMatch struct {
		Context            string         `yaml:"context"`
		Listener           *listenerMatch `yaml:"listener,omitempty"`
		Cluster            *clusterMatch  `yaml:"cluster,omitempty"`
		RouteConfiguration *routeMatch    `yaml:"routeConfiguration,omitempty"`
	}
	listenerMatch struct {
		FilterChain filterChainMatch `yaml:"filterChain"`
	}
	filterChainMatch struct {
		Filter filterMatch `yaml:"filter"`
	}
	filterMatch struct {
		Name      string   `yaml:"name"`
		SubFilter *subName `yaml:"subFilter,omitempty"`
	}
	subName struct {
		Name string `yaml:"name"`
	}
	clusterMatch struct {
		Service    string `yaml:"service"`
		PortNumber int    `yaml:"portNumber"`
	}
	routeMatch struct {
		VHost vhostMatch `yaml:"vhost"`
	}
	vhostMatch struct {
		Name  string  `yaml:"name"`
		Route subName `yaml:"route"`
	}
	patch struct {
		Operation string     `yaml:"operation"`
		Value     *yaml.Node `yaml:"value"`
	}
)
