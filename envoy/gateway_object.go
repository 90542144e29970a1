package envoy

// The shape of the objects of gateway.envoyproxy.io/v1alpha1 (Envoy Gateway
// 1.9), as far as they are used. Durations are those of the Gateway API
// (GEP-2257): see [gatewayDuration].
type (
	gatewayObject struct {
		APIVersion string     `yaml:"apiVersion"`
		Kind       string     `yaml:"kind"`
		Metadata   objectMeta `yaml:"metadata"`
		Spec       any        `yaml:"spec"`
	}
	policyTarget struct {
		Group       string `yaml:"group"`
		Kind        string `yaml:"kind"`
		Name        string `yaml:"name"`
		SectionName string `yaml:"sectionName,omitempty"`
	}

	extensionSpec struct {
		TargetRefs []policyTarget `yaml:"targetRefs"`
		MergeType  string         `yaml:"mergeType,omitempty"`
		ExtProc    []extProcEntry `yaml:"extProc"`
	}
	extProcEntry struct {
		BackendRefs     []backendRef    `yaml:"backendRefs"`
		BackendSettings backendSettings `yaml:"backendSettings"`
		ProcessingMode  legModes        `yaml:"processingMode"`
		MessageTimeout  string          `yaml:"messageTimeout"`
		FailOpen        bool            `yaml:"failOpen"`
		StatusOnError   int             `yaml:"statusOnError"`
		Metadata        struct {
			WritableNamespaces []string `yaml:"writableNamespaces"`
		} `yaml:"metadata"`
	}
	backendRef struct {
		Group     string `yaml:"group"`
		Kind      string `yaml:"kind"`
		Name      string `yaml:"name"`
		Namespace string `yaml:"namespace,omitempty"`
		Port      int    `yaml:"port"`
	}
	backendSettings struct {
		LoadBalancer   loadBalancer   `yaml:"loadBalancer"`
		Timeout        tcpTimeouts    `yaml:"timeout"`
		CircuitBreaker circuitBreaker `yaml:"circuitBreaker"`
		HTTP2          http2Settings  `yaml:"http2"`
	}
	loadBalancer struct {
		Type string `yaml:"type"`
	}
	tcpTimeouts struct {
		TCP struct {
			ConnectTimeout string `yaml:"connectTimeout"`
		} `yaml:"tcp"`
	}
	circuitBreaker struct {
		MaxConnections      int `yaml:"maxConnections"`
		MaxPendingRequests  int `yaml:"maxPendingRequests"`
		MaxParallelRequests int `yaml:"maxParallelRequests"`
	}
	http2Settings struct {
		InitialStreamWindowSize     int       `yaml:"initialStreamWindowSize"`
		InitialConnectionWindowSize int       `yaml:"initialConnectionWindowSize"`
		ConnectionKeepalive         keepalive `yaml:"connectionKeepalive"`
	}
	keepalive struct {
		Interval string `yaml:"interval"`
		Timeout  string `yaml:"timeout"`
	}
	legModes struct {
		Request  legMode `yaml:"request"`
		Response legMode `yaml:"response"`
	}
	legMode struct {
		Body string `yaml:"body"`
	}

	clientSpec struct {
		TargetRefs []policyTarget   `yaml:"targetRefs"`
		Timeout    clientTimeouts   `yaml:"timeout"`
		Connection clientConnection `yaml:"connection"`
		HTTP1      struct {
			EnableTrailers bool `yaml:"enableTrailers"`
		} `yaml:"http1"`
	}
	clientTimeouts struct {
		HTTP struct {
			StreamIdleTimeout string `yaml:"streamIdleTimeout"`
		} `yaml:"http"`
	}
	clientConnection struct {
		BufferLimit     int64 `yaml:"bufferLimit"`
		ConnectionLimit struct {
			MaxStreamDuration string `yaml:"maxStreamDuration"`
		} `yaml:"connectionLimit"`
	}

	backendSpec struct {
		TargetRefs     []policyTarget  `yaml:"targetRefs"`
		MergeType      string          `yaml:"mergeType,omitempty"`
		Timeout        backendTimeouts `yaml:"timeout"`
		CircuitBreaker circuitBreaker  `yaml:"circuitBreaker"`
		HTTPUpgrade    []upgrade       `yaml:"httpUpgrade"`
	}
	backendTimeouts struct {
		HTTP struct {
			RequestTimeout string `yaml:"requestTimeout"`
		} `yaml:"http"`
	}
	upgrade struct {
		Type string `yaml:"type"`
	}

	// grantSpec is that of gateway.networking.k8s.io ReferenceGrant.
	grantSpec struct {
		From []grantFrom `yaml:"from"`
		To   []grantTo   `yaml:"to"`
	}
	grantFrom struct {
		Group     string `yaml:"group"`
		Kind      string `yaml:"kind"`
		Namespace string `yaml:"namespace"`
	}
	grantTo struct {
		Group string `yaml:"group"`
		Kind  string `yaml:"kind"`
		Name  string `yaml:"name"`
	}
)
