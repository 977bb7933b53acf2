package framework_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/jwt/v2"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/catga-go/catga/framework"
	"github.com/catga-go/catga/frameworktest"
	"github.com/catga-go/catga/internal/natstest"
)

type ping struct {
	framework.Request[string]
	N int `json:"n"`
}

type pinged struct {
	framework.ReliableEvent
	N int `json:"n"`
}

// talks connects as cfg says and sends a request and an event through everything that there is.
func talks(t *testing.T, cfg framework.Config) {
	t.Helper()
	cfg.NodeID, cfg.Logger = "node1", frameworktest.Logger(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	node, err := framework.Connect(ctx, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = node.Close(context.Background()) })
	got := make(chan int, 1)
	if err := framework.Handle(node, func(ctx context.Context, p ping) (string, error) {
		return "pong", framework.Publish(ctx, node, pinged{N: p.N})
	}); err != nil {
		t.Fatal(err)
	}
	if err := framework.Subscribe(node, func(_ context.Context, p pinged) error {
		got <- p.N
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	frameworktest.Run(t, node)
	if answer, err := framework.Send(ctx, node, ping{N: 7}); err != nil || answer != "pong" {
		t.Fatalf("Send = %q, %v", answer, err)
	}
	select {
	case n := <-got:
		if n != 7 {
			t.Errorf("event %d, want 7", n)
		}
	case <-ctx.Done():
		t.Error("the event did not arrive")
	}
}

// refuses checks that cfg does not get in.
func refuses(t *testing.T, cfg framework.Config) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	cfg.NodeID, cfg.Logger = "node2", frameworktest.Logger(t)
	if node, err := framework.Connect(ctx, cfg); err == nil {
		_ = node.Close(ctx)
		t.Error("connected without what the server asks for")
	}
}

func TestConnect_Domain(t *testing.T) {
	t.Parallel()
	srv := natstest.Run(t, &server.Options{DontListen: true, StoreDir: t.TempDir(), JetStreamDomain: "hub"})
	talks(t, framework.Config{InProcess: srv, Domain: "hub"})
	refuses(t, framework.Config{InProcess: srv, Domain: "elsewhere"})
}

func TestConnect_NKey(t *testing.T) {
	t.Parallel()
	user := keyPair(t, nkeys.CreateUser)
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.nk")
	if err := os.WriteFile(file, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	srv := natstest.Run(t, &server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, StoreDir: t.TempDir(), Nkeys: []*server.NkeyUser{{Nkey: publicKey(t, user)}}})
	talks(t, framework.Config{URL: srv.ClientURL(), NKeyFile: file})
	refuses(t, framework.Config{URL: srv.ClientURL()})
}

func TestConnect_TLS(t *testing.T) {
	t.Parallel()
	cert, pool := selfSigned(t)
	srv := natstest.Run(t, &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, StoreDir: t.TempDir(), TLSVerify: true,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12},
	})
	talks(t, framework.Config{URL: srv.ClientURL(), TLS: &tls.Config{
		RootCAs: pool, Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12,
	}})
	refuses(t, framework.Config{URL: srv.ClientURL(), TLS: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}})
}

// selfSigned is a certificate for the loopback interface that signs itself, for both ends.
func selfSigned(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

func TestConnect_CredsFile(t *testing.T) {
	t.Parallel()
	operator, account, user := keyPair(t, nkeys.CreateOperator), keyPair(t, nkeys.CreateAccount), keyPair(t, nkeys.CreateUser)
	accountClaims := jwt.NewAccountClaims(publicKey(t, account))
	accountClaims.Limits.JetStreamLimits = jwt.JetStreamLimits{
		MemoryStorage: -1, DiskStorage: -1, Streams: -1, Consumer: -1,
	}
	accountJWT, err := accountClaims.Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	userJWT, err := jwt.NewUserClaims(publicKey(t, user)).Encode(account)
	if err != nil {
		t.Fatal(err)
	}
	seed, err := user.Seed()
	if err != nil {
		t.Fatal(err)
	}
	creds, err := jwt.FormatUserConfig(userJWT, seed)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "user.creds")
	if err := os.WriteFile(file, creds, 0o600); err != nil {
		t.Fatal(err)
	}
	system := keyPair(t, nkeys.CreateAccount)
	systemJWT, err := jwt.NewAccountClaims(publicKey(t, system)).Encode(operator)
	if err != nil {
		t.Fatal(err)
	}
	resolver := &server.MemAccResolver{}
	for key, claims := range map[string]string{publicKey(t, account): accountJWT, publicKey(t, system): systemJWT} {
		if err := resolver.Store(key, claims); err != nil {
			t.Fatal(err)
		}
	}
	srv := natstest.Run(t, &server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, StoreDir: t.TempDir(), AccountResolver: resolver,
		TrustedKeys: []string{publicKey(t, operator)}, SystemAccount: publicKey(t, system),
	})
	talks(t, framework.Config{URL: srv.ClientURL(), CredsFile: file})
	refuses(t, framework.Config{URL: srv.ClientURL()})
}

func keyPair(t *testing.T, create func() (nkeys.KeyPair, error)) nkeys.KeyPair {
	t.Helper()
	pair, err := create()
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func publicKey(t *testing.T, pair nkeys.KeyPair) string {
	t.Helper()
	key, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}
