// What one client may take of the server: sizes, counts, times. docs/http.md says what it sees beyond each.

/// Limits of one server. Times are milliseconds.
package struct HTTPLimits: Sendable {
    /// Names and values of one head, together.
    package var headerBytes = 16 * 1024
    package var headerCount = 100
    package var targetBytes = 8 * 1024
    /// The most any body may have; a service may ask for less with `HTTPExchange.collectBody`.
    package var bodyBytes: UInt64 = 64 * 1024 * 1024
    /// From a head's first byte to its last, however steadily it trickles.
    package var headTimeout: UInt64 = 10_000
    /// How often the rate of a body is looked at.
    package var bodyTimeout: UInt64 = 10_000
    /// Bytes a second below which an upload is given up; 0 never gives up.
    package var bodyMinimumRate: UInt64 = 256
    /// How long a client may leave an answer unread.
    package var writeTimeout: UInt64 = 30_000
    /// Bytes a second, over `writeTimeout`, below which a client that leaves an answer waiting is given up.
    package var writeMinimumRate: UInt64 = 128
    /// Between two requests.
    package var idleTimeout: UInt64 = 75_000
    /// How long a refused client is listened to, so that it sees the refusal.
    package var lingerTimeout: UInt64 = 2_000
    package var lingerBytes = 1024 * 1024
    /// Connections of one server, that is of one loop.
    package var connections = 10_000
    /// TLS handshakes at a time. Beyond it those older than a second are given up, and then new ones.
    package var handshakes = 1_000
    /// Streams of one HTTP/2 connection at a time.
    package var streams: UInt32 = 128
    /// Above this much unsent answer `HTTPExchange.write` says wait.
    package var highWater = 256 * 1024
    /// Below this much it says go on.
    package var lowWater = 64 * 1024

    /// For how many seconds an answer by TLS tells browsers to come by TLS only (HSTS); 0 says nothing.
    package var strictTransport = 0

    package init() {}

    /// How often connections are looked at: fine enough for the shortest of the times.
    var sweepInterval: UInt64 {
        let shortest = min(min(headTimeout, bodyTimeout, writeTimeout), min(idleTimeout, lingerTimeout))
        return min(1_000, max(10, shortest / 4))
    }
}
