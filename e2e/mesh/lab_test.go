package mesh_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// lab is a real Kubernetes API server with the objects of Istio, the Gateway API
// and Envoy Gateway defined, and nothing that acts on them.
type lab struct {
	kubeconfig, kubectl string
}

const labToken = "lab"

func startLab(t *testing.T) lab {
	t.Helper()
	apiserver, etcd := need(t, "kube-apiserver"), need(t, "etcd")
	dir := t.TempDir()
	store, peers, api := "http://"+freeAddress(t), "http://"+freeAddress(t), freeAddress(t)
	private, public := signingKeys(t, dir)
	tokens := filepath.Join(dir, "tokens.csv")
	kubeconfig := filepath.Join(dir, "kubeconfig")
	for path, text := range map[string]string{
		tokens: labToken + ",admin,admin,system:masters\n",
		kubeconfig: fmt.Sprintf("apiVersion: v1\nkind: Config\ncurrent-context: lab\ncontexts: [{name: lab, context: {cluster: lab, user: admin}}]\n"+
			"users: [{name: admin, user: {token: %s}}]\nclusters: [{name: lab, cluster: {server: \"https://%s\", insecure-skip-tls-verify: true}}]\n", labToken, api),
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	spawn(t, "etcd", nil, etcd, "--name", "lab", "--data-dir", filepath.Join(dir, "etcd"), "--listen-client-urls", store, "--advertise-client-urls", store,
		"--listen-peer-urls", peers, "--initial-advertise-peer-urls", peers, "--initial-cluster", "lab="+peers)
	spawn(t, "kube-apiserver", nil, apiserver, "--etcd-servers="+store, "--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--secure-port="+portOf(t, api),
		"--cert-dir="+filepath.Join(dir, "pki"), "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=RBAC", "--token-auth-file="+tokens,
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+public, "--service-account-signing-key-file="+private,
		"--disable-admission-plugins=ServiceAccount", "--endpoint-reconciler-type=none", "--shutdown-delay-duration=0s")
	await(t, "the API server is ready", time.Minute, func() error { return ready("https://" + api + "/readyz") })
	l := lab{kubeconfig: kubeconfig, kubectl: need(t, "kubectl")}
	crds := filepath.Join(envoyGatewayModule(t), "charts", "gateway-helm", "charts", "crds", "crds")
	l.must(t, nil, "apply", "--server-side", "-f", filepath.Join(istioModule(t), "manifests", "charts", "base", "files", "crd-all.gen.yaml"),
		"-f", filepath.Join(crds, "gatewayapi-crds.yaml"), "-f", filepath.Join(crds, "generated"))
	l.must(t, nil, "wait", "--for=condition=Established", "--all", "--timeout=60s", "crd")
	for _, namespace := range []string{"istio-system", "istio-ingress", "shop", "portcullis", "edge"} {
		l.must(t, nil, "create", "namespace", namespace)
	}
	return l
}

func signingKeys(t *testing.T, dir string) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	open, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	private, public = filepath.Join(dir, "sa.key"), filepath.Join(dir, "sa.pub")
	for path, block := range map[string]*pem.Block{private: {Type: "EC PRIVATE KEY", Bytes: secret}, public: {Type: "PUBLIC KEY", Bytes: open}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return private, public
}

func ready(url string) error {
	c := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, //nolint:gosec // our own, on the loopback interface
	}}
	req, err := http.NewRequest(http.MethodGet, url, nil) //nolint:noctx // the client has a timeout
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+labToken)
	resp, err := c.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close() // the status is all
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

func (l lab) do(t *testing.T, stdin []byte, args ...string) (string, error) {
	t.Helper()
	return run(t, stdin, l.kubectl, append([]string{"--kubeconfig", l.kubeconfig}, args...)...)
}

func (l lab) must(t *testing.T, stdin []byte, args ...string) {
	t.Helper()
	if out, err := l.do(t, stdin, args...); err != nil {
		t.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
}

// judge has the API server judge objects without keeping them.
func (l lab) judge(t *testing.T, objects []byte) error {
	t.Helper()
	_, err := l.do(t, objects, "apply", "--dry-run=server", "--validate=strict", "-f", "-")
	return err
}
