// Package embedded runs a NATS server with JetStream inside the process.
//
//	srv, err := embedded.Start(embedded.Config{StoreDir: "data"})
//	if err != nil { … }
//	defer srv.Close()
//	node, err := framework.Connect(ctx, framework.Config{NodeID: "node1", URL: srv.URL()})
//
// It adds what a bare server leaves to its host: an exclusive lock on the store folder, failures
// of the start as errors, a quota below the free disk space, and no signal handlers.
//
// It is one server: what it acknowledged survives the end of the process, killed or not, but not
// the loss of the disk, and after a power cut up to the sync interval is missing (see [SyncMode]).
package embedded
