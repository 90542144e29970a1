package mesh_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/portcullis-av/portcullis/e2e/client"
	"github.com/portcullis-av/portcullis/e2e/rig"
	"github.com/portcullis-av/portcullis/envoy"
)

// A real istiod reads the generated EnvoyFilters from a real API server, and real
// Envoys run what it makes of them, one as an ingress gateway and one as the
// sidecar of a workload: the gate holds.
func TestIstio(t *testing.T) {
	t.Parallel()
	pilot := need(t, "pilot-discovery")
	l, p, o := startLab(t), startPortcullis(t), startOrigin(t)
	service, ingress, inbound := freeAddress(t), freeAddress(t), freeAddress(t)
	l.must(t, []byte(istioObjects(t, ingress, inbound, service, o.Address(), p.ExtProc)), "apply", "--validate=strict", "-f", "-")
	l.must(t, []byte(`{"status": {"phase": "Running", "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}`),
		"patch", "pod", "shop-1", "-n", "shop", "--subresource=status", "--type=merge", "--patch-file=/dev/stdin")
	port, err := strconv.Atoi(portOf(t, service))
	if err != nil {
		t.Fatal(err)
	}
	for _, options := range []envoy.IstioOptions{
		{Namespace: "istio-ingress", Gateway: true, Selector: map[string]string{"istio": "ingressgateway"}, Port: port},
		{Namespace: "shop", Selector: map[string]string{"app": "shop"}, Port: port},
	} {
		filter, err := envoy.IstioYAML(options)
		if err != nil {
			t.Fatal(err)
		}
		l.must(t, filter, "apply", "--validate=strict", "-f", "-")
	}
	xds := startIstiod(t, pilot, l)
	t.Run("gateway", func(t *testing.T) {
		e := startMeshEnvoy(t, xds, "router~127.0.0.1~gw-1.istio-ingress~istio-ingress.svc.cluster.local",
			"LABELS: {istio: ingressgateway}, NAMESPACE: istio-ingress")
		g := gate{ingress, o}
		g.holds(t)
		g.endsWaiting(t)
		lintRunning(t, e)
	})
	t.Run("sidecar", func(t *testing.T) {
		e := startMeshEnvoy(t, xds, "sidecar~127.0.0.1~shop-1.shop~shop.svc.cluster.local",
			"LABELS: {app: shop}, NAMESPACE: shop, INTERCEPTION_MODE: NONE")
		gate{inbound, o}.holds(t)
		lintRunning(t, e, "L20") // a retry of Istio's own on every inbound route
	})
}

func startMeshEnvoy(t *testing.T, xds, node, metadata string) *rig.Envoy {
	t.Helper()
	e, err := rig.StartEnvoy(rig.EnvoyOptions{Binary: findEnvoy(t), Dir: t.TempDir(), Config: []byte(istioBootstrap(t, xds, node, metadata))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { end(t, "envoy", e.Process) })
	return e
}

// lintRunning requires that the linter finds nothing but what istiod itself does,
// and docs/istio.md tells: it waves 100-continue and WebSockets through, and more
// by the rules that are told.
func lintRunning(t *testing.T, e *rig.Envoy, told ...string) {
	t.Helper()
	dump, err := e.Admin("/config_dump")
	if err != nil {
		t.Fatal(err)
	}
	lint(t, "what istiod made of it", []byte(dump), append(told, "L24", "L11")...)
}

// endsWaiting requires that a client which waits for 100 Continue, and which istiod
// has Envoy keep waiting, is answered in the end: nothing hangs.
func (g gate) endsWaiting(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	raw, err := client.Dial(ctx, g.address)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = raw.Close() }() // nothing is written at the end
	if err := raw.Send("POST /up HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	res, err := raw.Receive(http.MethodPost)
	if err != nil || res.Status != http.StatusUnprocessableEntity || !bytes.Contains(res.Head, []byte("upload-deadline")) {
		t.Errorf("a client that waits for 100: status %d, %q, error %v", res.Status, res.Head, err)
	}
}

// startIstiod returns the address at which Envoys ask it.
func startIstiod(t *testing.T, binary string, l lab) string {
	t.Helper()
	mesh := filepath.Join(t.TempDir(), "mesh.yaml")
	// No TLS between pods that have no certificates.
	if err := os.WriteFile(mesh, []byte("enableTracing: false\nenableAutoMtls: false\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	status, xds := freeAddress(t), freeAddress(t)
	spawn(t, "istiod", []string{
		// Filters of Istio's own Envoy, which the stock one does not have.
		"PILOT_ENABLE_ALPN_FILTER=false", "PILOT_ENABLE_METADATA_EXCHANGE=false", "ENABLE_CA_SERVER=false",
		"POD_NAME=istiod-lab", "POD_NAMESPACE=istio-system", "INJECTION_WEBHOOK_CONFIG_NAME=", "VALIDATION_WEBHOOK_CONFIG_NAME=",
		"PILOT_ENABLE_GATEWAY_API_DEPLOYMENT_CONTROLLER=false", "PILOT_ENABLE_GATEWAY_API_GATEWAYCLASS_CONTROLLER=false",
	}, binary, "discovery", "--kubeconfig", l.kubeconfig, "--namespace", "istio-system", "--meshConfig", mesh, "--httpAddr", status, "--httpsAddr", "",
		"--grpcAddr", xds, "--secureGRPCAddr", "", "--monitoringAddr", freeAddress(t), "--ctrlz_port", "0")
	await(t, "istiod is ready", time.Minute, func() error { return ready("http://" + status + "/ready") })
	return xds
}

// istioObjects are a gateway with a route to the origin, a pod whose sidecar
// stands before the origin and needs no iptables, and both services. They
// stand for Kubernetes' own, which cannot have addresses of the loopback interface.
func istioObjects(t *testing.T, ingress, inbound, service, origin, processor string) string {
	t.Helper()
	return fmt.Sprintf(`
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: public, namespace: istio-ingress}
spec:
  selector: {istio: ingressgateway}
  servers: [{port: {number: %s, name: http, protocol: HTTP}, bind: 127.0.0.1, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: istio-ingress}
spec:
  hosts: ["*"]
  gateways: [public]
  http: [{name: all, retries: {attempts: 0}, route: [{destination: {host: web.shop.svc.cluster.local, port: {number: 80}}}]}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: web, namespace: shop}
spec:
  hosts: [web.shop.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: %s}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: portcullis, namespace: portcullis}
spec:
  hosts: [portcullis.portcullis.svc.cluster.local]
  location: MESH_INTERNAL
  resolution: STATIC
  ports: [{number: %s, name: grpc, protocol: GRPC}]
  endpoints: [{address: 127.0.0.1, ports: {grpc: %s}}]
---
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: default, namespace: istio-system}
spec: {mtls: {mode: DISABLE}}
---
apiVersion: v1
kind: Pod
metadata: {name: shop-1, namespace: shop, labels: {app: shop}}
spec: {containers: [{name: shop, image: "none"}]}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: shop, namespace: shop}
spec:
  workloadSelector: {labels: {app: shop}}
  ingress: [{port: {number: %s, name: http, protocol: HTTP}, bind: 127.0.0.1, captureMode: NONE, defaultEndpoint: "127.0.0.1:%s"}]
  egress: [{port: {number: %s, name: grpc, protocol: GRPC}, bind: 127.0.0.1, captureMode: NONE, hosts: ["portcullis/*"]}]
`, portOf(t, ingress), portOf(t, origin), portOf(t, service), portOf(t, processor), portOf(t, inbound), portOf(t, origin), portOf(t, service))
}

// istioBootstrap has an Envoy ask istiod for everything.
func istioBootstrap(t *testing.T, xds, node, metadata string) string {
	t.Helper()
	return fmt.Sprintf(`
node:
  id: %s
  cluster: lab
  metadata: {%s, ISTIO_VERSION: 1.31.0, CLUSTER_ID: Kubernetes}
admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}
dynamic_resources:
  ads_config: {api_type: GRPC, transport_api_version: V3, grpc_services: [{envoy_grpc: {cluster_name: istiod}}]}
  cds_config: {ads: {}, resource_api_version: V3}
  lds_config: {ads: {}, resource_api_version: V3}
static_resources:
  clusters:
  - name: istiod
    type: STATIC
    connect_timeout: 1s
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        '@type': type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {http2_protocol_options: {}}
    load_assignment: {cluster_name: istiod, endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}]}]}
`, node, metadata, portOf(t, xds))
}
