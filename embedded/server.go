package embedded

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// readyTimeout bounds the wait for a server whose start reported no failure; by then it listens.
const readyTimeout = 10 * time.Second

// A Server is a running NATS server. All methods are safe for concurrent use.
type Server struct {
	srv   *server.Server
	store *store
	log   *slog.Logger
	url   string

	done     chan struct{} // closed by wait, after closeErr is written
	closeErr error
}

// Start starts a server and returns when clients can connect and the streams in its store are
// there again. It ends with [Server.Close].
//
// Errors: [*ConfigError] for a field that cannot be used, [*LockedError] if another server uses the
// store, [*PortTakenError] if something else listens there, else what the server said. After an
// error nothing is left: no lock, no port, no temporary folder.
func Start(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	st, err := openStore(cfg.StoreDir)
	if err != nil {
		return nil, err
	}
	s, err := start(&cfg, st)
	if err != nil {
		return nil, errors.Join(err, st.close())
	}
	return s, nil
}

func start(cfg *Config, st *store) (*Server, error) {
	if err := cfg.checkPort(); err != nil {
		return nil, err
	}
	srv, err := server.NewServer(cfg.options(st.dir))
	if err != nil {
		return nil, fmt.Errorf("configure server: %w", err)
	}
	s := &Server{srv: srv, store: st, log: cfg.Logger, done: make(chan struct{})}
	if s.log == nil {
		s.log = slog.Default()
	}
	if err := s.run(cfg); err != nil {
		srv.Shutdown()
		srv.WaitForShutdown()
		return nil, err
	}
	s.log.Info("nats server started", slog.String("url", s.url), slog.String("store", st.dir))
	go s.wait()
	return s, nil
}

// run starts the server. All that can go wrong has been logged as fatal when Start returns, and the
// wait for readiness would only lose its ten seconds.
func (s *Server) run(cfg *Config) error {
	log := &logger{log: s.log}
	s.srv.SetLoggerV2(log, false, false, false)
	s.srv.Start()
	if err := log.failure(); err != nil {
		if taken := cfg.checkPort(); taken != nil {
			return taken // since it was checked before
		}
		return fmt.Errorf("start server: %w", err)
	}
	if !s.srv.ReadyForConnections(readyTimeout) {
		return fmt.Errorf("start server: not ready after %v", readyTimeout)
	}
	if !cfg.NoListen {
		s.url = clientURL(s.srv.Addr())
	}
	return nil
}

// clientURL is where a client on this machine finds the listener; nobody can connect to "any address".
func clientURL(addr net.Addr) string {
	hostPort := addr.String()
	if ap, err := netip.ParseAddrPort(hostPort); err == nil && ap.Addr().IsUnspecified() {
		hostPort = net.JoinHostPort(defaultHost, strconv.Itoa(int(ap.Port())))
	}
	return "nats://" + hostPort
}

// wait owns the end: it runs once, whoever ended the server, and releases the store when the server
// has let go of it.
func (s *Server) wait() {
	s.srv.WaitForShutdown()
	s.closeErr = s.store.close()
	s.log.Info("nats server stopped", slog.String("url", s.url))
	close(s.done)
}

// URL is where clients on this machine connect, "" with Config.NoListen. It carries no credentials.
func (s *Server) URL() string { return s.url }

// StoreDir is the store's absolute path, after Close too; a temporary one is gone then.
func (s *Server) StoreDir() string { return s.store.dir }

// InProcessConn opens a connection that uses no socket. With it a Server is a
// nats.InProcessConnProvider: nats.Connect("", nats.InProcessServer(srv)). Clients authenticate
// as through the port. After Close it returns [ErrClosed].
func (s *Server) InProcessConn() (net.Conn, error) {
	conn, err := s.srv.InProcessConn()
	if err != nil {
		return nil, ErrClosed
	}
	return conn, nil
}

// Done is closed when the server has ended and its store is released.
func (s *Server) Done() <-chan struct{} { return s.done }

// Close ends the server: clients are disconnected, the store is written and unlocked, a temporary
// one is removed. It returns when all that is done, with what went wrong in it. Every call waits
// for the same end and returns the same.
func (s *Server) Close() error {
	s.srv.Shutdown()
	<-s.done
	return s.closeErr
}
