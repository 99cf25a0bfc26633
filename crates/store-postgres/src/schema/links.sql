-- Functions of the store: who owns a link, and what is kept of the peer's own messages.

-- The peers of links whose lane this replica holds, NULL for others, under a lock that appends do not wait for.
CREATE FUNCTION lanes(a_replica int, a_links bytea[], a_lanes bigint[]) RETURNS int[] LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM link l WHERE l.id = ANY(a_links) ORDER BY l.id FOR KEY SHARE;
    RETURN (SELECT array_agg(l.peer ORDER BY u.i)
        FROM unnest(a_links, a_lanes) WITH ORDINALITY u(id, lane, i)
        LEFT JOIN link l ON l.id = u.id AND l.lane = u.lane AND l.lane_owner = a_replica);
END $$;

-- Replaces and forgets cursors. `c_from` and `c_to` say which of `c_held` belong to each.
CREATE FUNCTION handled(
    a_replica int, a_links bytea[], a_lanes bigint[], c_link int[], c_inc bytea[],
    c_forget boolean[], c_replace boolean[], c_done bigint[], c_from int[], c_to int[], c_held bigint[]
) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE v_peers int[] := lanes(a_replica, a_links, a_lanes);
BEGIN
    DELETE FROM cursor o USING unnest(c_link, c_inc, c_forget) c(link, inc, forget)
    WHERE c.forget AND o.peer = v_peers[c.link] AND o.inc = c.inc;
    DELETE FROM attempt o USING unnest(c_link, c_inc, c_forget, c_done) c(link, inc, forget, done)
    WHERE o.peer = v_peers[c.link] AND o.inc = c.inc AND (c.forget OR o.seq <= c.done);
    INSERT INTO cursor(peer, inc, done, held)
    SELECT v_peers[c.link], c.inc, c.done, c_held[c.first : c.last]
    FROM unnest(c_link, c_inc, c_replace, c_done, c_from, c_to) c(link, inc, replace, done, first, last)
    WHERE c.replace AND v_peers[c.link] IS NOT NULL
    ON CONFLICT (peer, inc) DO UPDATE SET done = excluded.done, held = excluded.held;
    RETURN (SELECT array_agg(u.i::int) FROM unnest(v_peers) WITH ORDINALITY u(peer, i) WHERE u.peer IS NULL);
END $$;

-- Counts attempts, or takes counts back, in this order. Returns each count; NULL for what is stale.
CREATE FUNCTION count_attempts(
    a_replica int, a_links bytea[], a_lanes bigint[], t_link int[], t_inc bytea[], t_seq bigint[], t_step int[]
) RETURNS int[] LANGUAGE plpgsql AS $$
DECLARE
    v_peers int[] := lanes(a_replica, a_links, a_lanes);
    v_counts int[];
    v_count int;
    t record;
BEGIN
    FOR t IN SELECT * FROM unnest(t_link, t_inc, t_seq, t_step) WITH ORDINALITY u(link, inc, seq, step, i) ORDER BY i LOOP
        v_count := NULL;
        IF v_peers[t.link] IS NULL THEN
            NULL;
        ELSIF t.step > 0 THEN
            INSERT INTO attempt AS a VALUES (v_peers[t.link], t.inc, t.seq, 1)
            ON CONFLICT (peer, inc, seq) DO UPDATE SET n = a.n + 1 RETURNING a.n INTO v_count;
        ELSE
            DELETE FROM attempt a WHERE a.peer = v_peers[t.link] AND a.inc = t.inc AND a.seq = t.seq AND a.n = 1;
            UPDATE attempt a SET n = a.n - 1 WHERE a.peer = v_peers[t.link] AND a.inc = t.inc AND a.seq = t.seq;
            v_count := 0;
        END IF;
        v_counts := array_append(v_counts, v_count);
    END LOOP;
    RETURN v_counts;
END $$;

-- Adds a dead letter, for whoever holds the lane. Returns whether that is this replica, with this fence. The lock
-- is that of `lanes`: nobody else gets the lane before the letter is committed.
CREATE FUNCTION add_letter(
    a_replica int, a_link bytea, a_lane bigint, a_inc bytea, a_seq bigint, a_code int, a_at bigint, a_crc bigint,
    a_is_bytes boolean, a_body bytea, a_most bigint, a_most_bytes bigint
) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    v_peer int;
    v_letters bigint;
    v_bytes bigint;
BEGIN
    SELECT l.peer INTO v_peer FROM link l
    WHERE l.id = a_link AND l.lane = a_lane AND l.lane_owner = a_replica FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    LOCK TABLE dead IN SHARE ROW EXCLUSIVE MODE;
    INSERT INTO dead(peer, inc, seq, code, at, crc, is_bytes, body)
    VALUES (v_peer, a_inc, a_seq, a_code, a_at, a_crc, a_is_bytes, a_body);
    LOOP
        SELECT count(*), coalesce(sum(octet_length(d.body)), 0) INTO v_letters, v_bytes FROM dead d;
        EXIT WHEN v_letters <= a_most AND v_bytes <= a_most_bytes;
        DELETE FROM dead d WHERE d.id = (SELECT min(o.id) FROM dead o WHERE o.peer IN (
            SELECT s.peer FROM (
                SELECT g.peer, rank() OVER (ORDER BY
                    CASE WHEN v_letters > a_most THEN count(*) ELSE sum(octet_length(g.body)) END DESC,
                    CASE WHEN v_letters > a_most THEN sum(octet_length(g.body)) ELSE count(*) END DESC) AS place
                FROM dead g GROUP BY g.peer) s
            WHERE s.place = 1));
    END LOOP;
    INSERT INTO cursor AS c VALUES (v_peer, a_inc, 0, ARRAY[a_seq])
    ON CONFLICT (peer, inc) DO UPDATE SET held = array_append(c.held, a_seq)
    WHERE c.done < a_seq AND a_seq <> ALL (c.held);
    DELETE FROM attempt a WHERE a.peer = v_peer AND a.inc = a_inc AND a.seq = a_seq;
    RETURN true;
END $$;

-- Borrows a dead letter for a replica, to handle it once more: no other one gets it while this one lives (S7) and has
-- not returned it. `turn` is how often it was borrowed, `holder` another living replica that has borrowed it; both are
-- NULL if it is not there.
CREATE FUNCTION borrow_letter(a_id bigint, a_replica int, OUT turn int, OUT holder int) LANGUAGE plpgsql AS $$
DECLARE v_borrower int;
BEGIN
    IF NOT alive(a_replica) THEN
        RAISE EXCEPTION 'this replica is taken for dead' USING ERRCODE = 'PD002';
    END IF;
    SELECT d.borrower INTO v_borrower FROM dead d WHERE d.id = a_id FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF v_borrower <> a_replica AND alive(v_borrower) THEN
        holder := v_borrower;
        RETURN;
    END IF;
    UPDATE dead d SET borrower = a_replica, turn = d.turn + 1 WHERE d.id = a_id RETURNING d.turn INTO turn;
END $$;

-- Makes a replica the owner of a link, unless another one owns it and lives: that is the `holder` then. A claim
-- after `a_last` is one whose answer this replica never got: nobody is in the lane that came with it. The claims of
-- a replica are numbered by `a_number`: one whose connection broke, and that comes after a later one, changes nothing.
CREATE FUNCTION claim(
    a_link bytea, a_name text, a_replica int, a_timeline bigint, a_last bigint, a_number bigint,
    OUT holder int, OUT peer int, OUT fence bigint, OUT inc bytea, OUT has_lane boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    l link%ROWTYPE;
    v_epoch bigint := epoch(a_timeline);
BEGIN
    IF NOT alive(a_replica) THEN
        RAISE EXCEPTION 'this replica is taken for dead' USING ERRCODE = 'PD002';
    END IF;
    SELECT * INTO l FROM link k WHERE k.id = a_link FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM create_links(ARRAY[a_link], ARRAY[a_name], a_timeline);
        SELECT * INTO STRICT l FROM link k WHERE k.id = a_link FOR UPDATE;
    END IF;
    IF l.owner <> a_replica AND alive(l.owner) THEN
        holder := l.owner;
        RETURN;
    END IF;
    IF l.owner = a_replica AND l.claimed > a_number THEN
        RAISE EXCEPTION 'a later claim of this replica was faster' USING ERRCODE = 'PD004';
    END IF;
    peer := l.peer;
    fence := greatest(l.fence + 1, (v_epoch << 40) + nextval('claims'));
    inc := random_instance();
    has_lane := l.lane_owner IS NULL OR NOT alive(l.lane_owner)
        OR (l.owner = a_replica AND l.lane_owner = a_replica AND l.lane = l.fence AND l.fence > a_last);
    DELETE FROM stream s WHERE s.peer = l.peer
        AND NOT EXISTS (SELECT FROM outbox o WHERE o.peer = s.peer AND o.ord = s.ord AND o.seq >= s.base);
    INSERT INTO stream(peer, ord, inc) VALUES (l.peer, l.ord + 1, inc);
    UPDATE link k SET name = a_name, fence = fence, owner = a_replica, ord = l.ord + 1, inc = inc, next = 1, epoch = v_epoch,
        claimed = a_number,
        lane = CASE WHEN has_lane THEN fence ELSE l.lane END,
        lane_owner = CASE WHEN has_lane THEN a_replica ELSE l.lane_owner END
    WHERE k.peer = l.peer;
END $$;

-- Gives links up. `a_free` says of each whether its lane is given up, too: also where the link was claimed
-- again since, because an answer was lost.
CREATE FUNCTION release(a_replica int, a_links bytea[], a_fences bigint[], a_free boolean[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    -- Handlers that keep their lane (`holds_lane`) are not waited for: whoever claims the link does that.
    PERFORM FROM link l WHERE l.id = ANY(a_links) ORDER BY l.id FOR NO KEY UPDATE;
    UPDATE link l SET owner = CASE WHEN l.owner = a_replica AND l.fence = u.fence THEN NULL ELSE l.owner END,
        lane = CASE WHEN u.free AND l.lane_owner = a_replica AND l.lane = u.fence THEN NULL ELSE l.lane END,
        lane_owner = CASE WHEN u.free AND l.lane_owner = a_replica AND l.lane = u.fence THEN NULL ELSE l.lane_owner END
    FROM unnest(a_links, a_fences, a_free) u(id, fence, free)
    WHERE l.id = u.id AND a_replica IN (l.owner, l.lane_owner) AND u.fence IN (l.fence, l.lane);
END $$;

-- Enters the lane. Returns the peer; 0 if somebody else is in the lane, NULL if the fence is stale.
CREATE FUNCTION take_lane(a_link bytea, a_replica int, a_fence bigint) RETURNS int LANGUAGE plpgsql
SET lock_timeout = '250ms' AS $$
DECLARE l link%ROWTYPE;
BEGIN
    -- Whoever is in the lane may keep the row locked for long (`holds_lane`): that is seen without waiting.
    SELECT * INTO l FROM link k WHERE k.id = a_link AND k.fence = a_fence AND k.owner = a_replica;
    IF FOUND AND l.lane <> a_fence AND l.lane_owner IS NOT NULL AND alive(l.lane_owner) THEN
        RETURN 0;
    END IF;
    SELECT * INTO l FROM link k WHERE k.id = a_link AND k.fence = a_fence AND k.owner = a_replica FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF l.lane = a_fence THEN
        RETURN l.peer;
    END IF;
    IF l.lane_owner IS NOT NULL AND alive(l.lane_owner) THEN
        RETURN 0;
    END IF;
    UPDATE link k SET lane = a_fence, lane_owner = a_replica WHERE k.peer = l.peer;
    RETURN l.peer;
END $$;

-- Leaves the lane. Returns whether this replica was in it, and the owner of the link.
CREATE FUNCTION free_lane(a_link bytea, a_replica int, a_fence bigint, OUT was_in boolean, OUT owner int)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    UPDATE link l SET lane = NULL, lane_owner = NULL
    WHERE l.id = a_link AND l.lane = a_fence AND l.lane_owner = a_replica RETURNING l.owner INTO owner;
    was_in := FOUND;
END $$;

-- For a handler, in a transaction of its own in this database: fails unless the lane of the peer is held with this fence,
-- and keeps it so until the transaction ends (S2). Whoever claims the link meanwhile waits.
CREATE FUNCTION holds_lane(a_peer text, a_fence bigint) RETURNS void LANGUAGE plpgsql
SET search_path FROM CURRENT AS $$
BEGIN
    PERFORM FROM link l WHERE l.name = a_peer AND l.lane = a_fence FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this replica may not handle messages of "%" any more: fence % is not that of its lane',
            a_peer, a_fence USING ERRCODE = 'PD005';
    END IF;
END $$;

-- Removes a part of a mailbox: streams first, the oldest first. Returns whether nothing is left.
CREATE FUNCTION purge_step(
    a_link bytea, a_most bigint, a_most_bytes bigint,
    OUT is_last boolean, OUT messages bigint, OUT bytes bigint, OUT letters bigint
) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    v_peer int;
    v_ord bigint;
    v_base bigint;
    v_count bigint;
    m record;
BEGIN
    is_last := false;
    messages := 0;
    bytes := 0;
    letters := 0;
    SELECT l.peer INTO v_peer FROM link l WHERE l.id = a_link FOR UPDATE;
    IF NOT FOUND THEN
        is_last := true;
        RETURN;
    END IF;
    FOR v_ord, v_base IN SELECT s.ord, s.base FROM stream s WHERE s.peer = v_peer ORDER BY s.ord LOOP
        v_count := 0;
        FOR m IN SELECT o.seq, octet_length(o.body) AS len FROM outbox o
            WHERE o.peer = v_peer AND o.ord = v_ord AND o.seq >= v_base ORDER BY o.seq LIMIT a_most - messages
        LOOP
            EXIT WHEN bytes >= a_most_bytes;
            v_count := v_count + 1;
            bytes := bytes + m.len;
        END LOOP;
        DELETE FROM outbox o WHERE o.peer = v_peer AND o.ord = v_ord AND o.seq BETWEEN v_base AND v_base + v_count - 1;
        UPDATE stream s SET base = v_base + v_count WHERE s.peer = v_peer AND s.ord = v_ord;
        messages := messages + v_count;
        EXIT WHEN messages >= a_most OR bytes >= a_most_bytes;
    END LOOP;
    UPDATE link l SET waiting = l.waiting - messages, bytes = l.bytes - bytes, abandoned = l.abandoned + messages
    WHERE l.peer = v_peer;
    IF messages > 0 THEN
        RETURN;
    END IF;
    DELETE FROM attempt a WHERE a.ctid = ANY(ARRAY(SELECT o.ctid FROM attempt o WHERE o.peer = v_peer LIMIT a_most));
    GET DIAGNOSTICS v_count = ROW_COUNT;
    IF v_count >= a_most THEN
        RETURN;
    END IF;
    DELETE FROM fate f WHERE f.peer = v_peer;
    DELETE FROM dead d WHERE d.peer = v_peer;
    GET DIAGNOSTICS letters = ROW_COUNT;
    DELETE FROM cursor c WHERE c.peer = v_peer;
    DELETE FROM stream s WHERE s.peer = v_peer;
    DELETE FROM link l WHERE l.peer = v_peer;
    is_last := true;
END $$;
