package envoy

import (
	"strconv"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extprocv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_proc/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// filterName is the filter's name in http_filters, and so the key of
	// per-route settings.
	filterName = "portcullis"
	// metadataNamespace is where Portcullis writes the verdict for access logs.
	metadataNamespace = "portcullis"
	// policyHeader is the gRPC metadata that names the Portcullis policy.
	policyHeader = "x-portcullis-policy"
	// adaptiveHeader tells Portcullis that overrides are obeyed, and how large a
	// request Envoy can buffer.
	adaptiveHeader = "x-portcullis-adaptive"
)

// filter is the external-processing filter; cluster is where Portcullis is.
func (g gate) filter(cluster string) *extprocv3.ExternalProcessor {
	t := g.timers()
	body := g.profile.bodyMode()
	f := &extprocv3.ExternalProcessor{
		GrpcService: &corev3.GrpcService{
			TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
				EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: cluster},
			},
			InitialMetadata: g.initialMetadata(),
		},
		ProcessingMode:    processingMode(body, body),
		MessageTimeout:    durationpb.New(t.message),
		MaxMessageTimeout: durationpb.New(t.maxMessage),
		StatusOnError:     &typev3.HttpStatus{Code: typev3.StatusCode_ServiceUnavailable},
		MetadataOptions: &extprocv3.MetadataOptions{
			ReceivingNamespaces: &extprocv3.MetadataOptions_MetadataNamespaces{Untyped: []string{metadataNamespace}},
		},
	}
	f.ForwardRules = &extprocv3.HeaderForwardingRules{DisallowedHeaders: exactly(credentials()...)}
	switch g.profile {
	case Duplex:
		f.AllowContentLengthHeader = true
	case Adaptive:
		f.AllowContentLengthHeader = true
		f.AllowModeOverride = true
		f.AllowedOverrideModes = overrides()
	case Buffered:
	}
	return f
}

// credentials are headers that no scan needs.
func credentials() []string {
	return []string{"authorization", "proxy-authorization", "cookie", "set-cookie"}
}

func exactly(names ...string) *matcherv3.ListStringMatcher {
	l := &matcherv3.ListStringMatcher{}
	for _, n := range names {
		l.Patterns = append(l.Patterns, &matcherv3.StringMatcher{MatchPattern: &matcherv3.StringMatcher_Exact{Exact: n}})
	}
	return l
}

func (g gate) initialMetadata() []*corev3.HeaderValue {
	var all []*corev3.HeaderValue
	if g.policy != "" {
		all = append(all, &corev3.HeaderValue{Key: policyHeader, Value: g.policy})
	}
	if g.profile == Adaptive {
		all = append(all, &corev3.HeaderValue{Key: adaptiveHeader, Value: strconv.Itoa(bufferLimit)})
	}
	return all
}
