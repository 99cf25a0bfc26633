-- Functions of the store: messages that wait for a peer.

-- Stores messages (S4): all of them, or of each link those before the first that does not fit. Message
-- `i` is for link `a_link[i]`, the `a_at[i]`th for it here, and those up to it have `a_sum[i]` bytes.
-- Returns no streams if there is a link without a row. The row of the writer has the number and the answer
-- of its last batch (S8); once it is closed, nothing that was sent before is stored any more.
CREATE FUNCTION append(
    a_writer bytea, a_batch bigint, a_by int, a_timeline bigint, a_links bytea[], a_counts bigint[], a_bytes bigint[],
    a_link int[], a_at bigint[], a_sum bigint[], a_max_messages bigint[], a_max_bytes bigint[],
    a_ttl bigint[], a_crc bigint[], a_is_bytes boolean[], a_body bytea[],
    OUT owners int[], OUT streams bytea[], OUT firsts bigint[], OUT stored bigint[],
    OUT waiting bigint[], OUT bytes bigint[]
) LANGUAGE plpgsql AS $$
#variable_conflict use_variable
DECLARE
    v_epoch bigint := epoch(a_timeline);
    v_peers int[];
    v_ords bigint[];
    v_begun boolean[];
    v_sums bigint[] := a_bytes;
    v_now bigint := millis();
BEGIN
    PERFORM FROM writer w WHERE w.id = a_writer AND NOT w.closed FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this writer is closed' USING ERRCODE = 'PD001';
    END IF;
    SELECT array_agg(l.peer), array_agg(l.owner), array_agg(l.waiting), array_agg(l.bytes),
        array_agg(l.epoch <> v_epoch),
        array_agg(CASE WHEN l.epoch <> v_epoch THEN l.ord + 1 ELSE l.ord END),
        array_agg(CASE WHEN l.epoch <> v_epoch THEN random_instance() ELSE l.inc END),
        array_agg(CASE WHEN l.epoch <> v_epoch THEN 1 ELSE l.next END)
    INTO v_peers, owners, waiting, bytes, v_begun, v_ords, streams, firsts
    FROM (SELECT l.* FROM link l WHERE l.id = ANY(a_links) ORDER BY l.id FOR NO KEY UPDATE) l;
    stored := a_counts;
    IF coalesce(cardinality(v_peers), 0) < cardinality(a_links) THEN
        streams := NULL;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM unnest(a_link, a_at, a_sum, a_max_messages, a_max_bytes) m(link, at, sum, messages, bytes)
               WHERE waiting[m.link] + m.at > m.messages OR bytes[m.link] + m.sum > m.bytes) THEN
        SELECT array_agg(coalesce(f.first - 1, u.count) ORDER BY u.i) INTO stored
        FROM unnest(a_counts) WITH ORDINALITY u(count, i) LEFT JOIN (
            SELECT m.link, min(m.at) AS first
            FROM unnest(a_link, a_at, a_sum, a_max_messages, a_max_bytes) m(link, at, sum, messages, bytes)
            WHERE waiting[m.link] + m.at > m.messages OR bytes[m.link] + m.sum > m.bytes
            GROUP BY m.link) f ON f.link = u.i;
        SELECT array_agg(coalesce(s.sum, 0) ORDER BY u.i) INTO v_sums
        FROM unnest(a_counts) WITH ORDINALITY u(count, i) LEFT JOIN (
            SELECT m.link, max(m.sum) AS sum FROM unnest(a_link, a_at, a_sum) m(link, at, sum)
            WHERE m.at <= stored[m.link] GROUP BY m.link) s ON s.link = u.i;
    END IF;
    IF true = ANY(v_begun) THEN
        INSERT INTO stream(peer, ord, inc)
        SELECT u.peer, u.ord, u.inc FROM unnest(v_peers, v_ords, streams, v_begun) u(peer, ord, inc, begun)
        WHERE u.begun;
    END IF;
    INSERT INTO outbox(peer, ord, seq, by, deadline, ttl, crc, is_bytes, body)
    SELECT v_peers[m.link], v_ords[m.link], firsts[m.link] + m.at - 1, a_by, v_now + m.ttl, m.ttl, m.crc, m.is_bytes, m.body
    FROM unnest(a_link, a_at, a_ttl, a_crc, a_is_bytes, a_body) m(link, at, ttl, crc, is_bytes, body)
    WHERE m.at <= stored[m.link];
    UPDATE link l SET ord = u.ord, inc = u.inc, next = u.first + u.count, epoch = v_epoch, waiting = l.waiting + u.count,
        bytes = l.bytes + u.sum, accepted = l.accepted + u.count
    FROM unnest(v_peers, v_ords, streams, firsts, stored, v_sums) u(peer, ord, inc, first, count, sum)
    WHERE l.peer = u.peer;
    UPDATE writer w SET batch = a_batch, streams = streams, firsts = firsts, stored = stored WHERE w.id = a_writer;
END $$;

-- What an owner writes lazily. `a_links` are sorted; other arguments refer to them by their index. A
-- stale entry is one whose fence is not that of the present owner: nothing of it changes anything.
CREATE FUNCTION advance(
    a_replica int, a_links bytea[], a_fences bigint[],
    f_link int[], f_inc bytea[], f_seq bigint[], f_kind int[], f_code int[], f_said text[],
    m_link int[], m_inc bytea[], m_mark bigint[],
    t_link int[], t_inc bytea[], t_upto bigint[],
    OUT stale int[], OUT unfinished int[], OUT told_link int[], OUT told_by int[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_peers int[];
    v_peer int;
    v_ord bigint;
    v_base bigint;
    v_last bigint;
    v_gone record;
    t record;
BEGIN
    PERFORM FROM link l WHERE l.id = ANY(a_links) ORDER BY l.id FOR NO KEY UPDATE;
    SELECT array_agg(l.peer ORDER BY u.i), array_agg(u.i::int ORDER BY u.i) FILTER (WHERE l.peer IS NULL)
    INTO v_peers, stale
    FROM unnest(a_links, a_fences) WITH ORDINALITY u(id, fence, i)
    LEFT JOIN link l ON l.id = u.id AND l.fence = u.fence AND l.owner = a_replica;
    IF cardinality(f_link) > 0 THEN
        INSERT INTO fate(peer, inc, seq, kind, code, said)
        SELECT v_peers[f.link], f.inc, f.seq, f.kind, f.code, f.said
        FROM unnest(f_link, f_inc, f_seq, f_kind, f_code, f_said) f(link, inc, seq, kind, code, said)
        WHERE v_peers[f.link] IS NOT NULL
        ON CONFLICT (peer, inc, seq) DO NOTHING;
        FOR v_peer IN SELECT DISTINCT v_peers[u.link] FROM unnest(f_link) u(link) LOOP
            DELETE FROM fate f WHERE f.peer = v_peer AND f.id <=
                (SELECT g.id FROM fate g WHERE g.peer = v_peer ORDER BY g.id DESC OFFSET 4096 LIMIT 1);
        END LOOP;
    END IF;
    IF cardinality(m_link) > 0 THEN
        UPDATE stream s SET mark = m.mark
        FROM unnest(m_link, m_inc, m_mark) m(link, inc, mark)
        WHERE s.peer = v_peers[m.link] AND s.inc = m.inc AND s.mark < m.mark;
    END IF;
    FOR t IN SELECT * FROM unnest(t_link, t_inc, t_upto) WITH ORDINALITY u(link, inc, upto, i) LOOP
        v_peer := v_peers[t.link];
        CONTINUE WHEN v_peer IS NULL;
        SELECT s.ord, s.base INTO v_ord, v_base FROM stream s WHERE s.peer = v_peer AND s.inc = t.inc;
        CONTINUE WHEN NOT FOUND OR v_base > t.upto;
        v_last := least(t.upto, v_base + 1023);
        WITH gone AS (
            DELETE FROM outbox o WHERE o.peer = v_peer AND o.ord = v_ord AND o.seq BETWEEN v_base AND v_last
            RETURNING o.seq, o.by, octet_length(o.body) AS len)
        SELECT count(*) AS n, coalesce(sum(g.len), 0) AS bytes, array_agg(DISTINCT g.by) AS accepted_by,
            count(*) FILTER (WHERE f.kind = 1) AS rejected, count(*) FILTER (WHERE f.kind = 2) AS expired,
            count(*) FILTER (WHERE f.kind = 3) AS abandoned
        INTO v_gone
        FROM gone g LEFT JOIN fate f ON f.peer = v_peer AND f.inc = t.inc AND f.seq = g.seq;
        CONTINUE WHEN v_gone.n = 0;
        UPDATE stream s SET base = v_base + v_gone.n WHERE s.peer = v_peer AND s.ord = v_ord;
        UPDATE link l SET waiting = l.waiting - v_gone.n, bytes = l.bytes - v_gone.bytes,
            rejected = l.rejected + v_gone.rejected, expired = l.expired + v_gone.expired,
            abandoned = l.abandoned + v_gone.abandoned,
            acknowledged = l.acknowledged + v_gone.n - v_gone.rejected - v_gone.expired - v_gone.abandoned
        WHERE l.peer = v_peer;
        told_link := told_link || array_fill(t.link, ARRAY[cardinality(v_gone.accepted_by)]);
        told_by := told_by || v_gone.accepted_by;
        IF v_gone.n = 1024 AND v_last < t.upto THEN
            unfinished := unfinished || t.i::int;
        END IF;
    END LOOP;
END $$;

-- Messages of streams, of each from its first on, without a gap: one, and more as long as they have few bytes. `item` says
-- of which stream each is. Once there are `a_most` bytes, the streams that are left are not read: the last row has no
-- message, and the number of those that were.
CREATE FUNCTION read_messages(a_links bytea[], a_incs bytea[], a_firsts bigint[], a_bytes bigint[], a_most bigint)
RETURNS TABLE(item int, crc bigint, is_bytes boolean, body bytea, time_left bigint) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    v_peer int;
    v_ord bigint;
    v_base bigint;
    v_first bigint;
    v_seq bigint;
    v_bytes bigint;
    v_all bigint := 0;
    v_now bigint := millis();
    m record;
BEGIN
    item := 0;
    WHILE item < cardinality(a_links) AND v_all < a_most LOOP
        item := item + 1;
        v_first := a_firsts[item];
        v_seq := v_first;
        v_bytes := 0;
        SELECT s.peer, s.ord, s.base INTO v_peer, v_ord, v_base
        FROM link l JOIN stream s ON s.peer = l.peer AND s.inc = a_incs[item] WHERE l.id = a_links[item];
        -- One stream in the order of its key: what is not taken is not read, and nothing has to be sorted.
        FOR m IN SELECT o.seq, o.crc, o.is_bytes, o.body, o.deadline, o.ttl FROM outbox o
            WHERE o.peer = v_peer AND o.ord = v_ord AND o.seq >= greatest(v_first, v_base) ORDER BY o.seq
        LOOP
            EXIT WHEN m.seq <> v_seq OR (v_seq > v_first AND v_bytes + octet_length(m.body) > a_bytes[item]);
            v_bytes := v_bytes + octet_length(m.body);
            v_seq := v_seq + 1;
            crc := m.crc;
            is_bytes := m.is_bytes;
            body := m.body;
            -- A clock that was put back gives no message more time than it had.
            time_left := CASE WHEN m.ttl IS NOT NULL THEN greatest(least(m.deadline - v_now, m.ttl), 0) END;
            RETURN NEXT;
        END LOOP;
        v_all := v_all + v_bytes;
    END LOOP;
    crc := NULL;
    is_bytes := NULL;
    body := NULL;
    time_left := NULL;
    RETURN NEXT;
END $$;
